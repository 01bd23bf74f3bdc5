package cli

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/fengsui/fengsui/firmware/pin"
	"github.com/fengsui/fengsui/firmware/terminal"
)

// hashPIN reads a PIN, one line, and prints its hash.
func hashPIN(args []string, std streams) error {
	if err := none(args); err != nil {
		return err
	}
	line, err := bufio.NewReader(io.LimitReader(std.in, 64)).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	h, err := pin.New(strings.TrimSpace(line))
	if err != nil {
		return fmt.Errorf("pin: %w", err) // the PIN itself is not repeated
	}
	fmt.Fprintln(std.out, h)
	return nil
}

// printTerminal prints the address that the car's browser opens once.
func printTerminal(args []string, std streams) error {
	cfg, err := load(args)
	if err != nil {
		return err
	}
	if cfg.Terminal == nil {
		return fmt.Errorf("terminal: %s has no screen: want a section terminal in the configuration", cfg.Device)
	}
	token, err := terminal.LoadOrCreateToken(cfg.Data)
	if err != nil {
		return err
	}
	fmt.Fprintf(std.out, "http://%s/?token=%s\n", cfg.Terminal.Listen, token)
	return nil
}
