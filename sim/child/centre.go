package child

import (
	"context"
	"io"
)

// A Main is a program that can be called: the centre's, from package
// cloudbridge.
type Main func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int

// Centre runs the centre with its own arguments until it ends, its input ends
// or ctx ends.
func Centre(ctx context.Context, main Main, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, stdin) // it ends when the parent does
		cancel()
	}()
	return main(ctx, args, eof{}, stdout, stderr)
}

// eof is an empty input.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }
