package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/fengsui/fengsui/firmware/wire"
)

// CheckTime is how long a check may take before its file counts as damaged.
const CheckTime = 30 * time.Second

// Check reads the whole of a spool file, without changing it: the structure,
// every checksum, every head. The error wraps [ErrInUse], [ErrFormat] or
// [ErrDamaged], and none of these where the system refused something that says
// nothing of the file; an absent or empty file is in order. On some damage bbolt ends
// the process past any recover, or does not end at all: see [CheckIn].
func Check(path string) error {
	if st, err := os.Stat(path); errors.Is(err, os.ErrNotExist) || err == nil && st.Size() == 0 {
		return nil
	} else if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	db, _, err := openFile(path, bolt.Options{ReadOnly: true, PreLoadFreelist: true, Timeout: 2 * time.Second})
	if errors.Is(err, syscall.EIO) { // a part of it cannot be read, ever
		err = fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	if err != nil {
		return fmt.Errorf("spool %s: %w", path, err)
	}
	err = guard(func() error { return db.View(check) })
	if e := db.Close(); err == nil && e != nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("spool %s: %w", path, err)
	}
	return nil
}

func check(tx *bolt.Tx) error {
	var first error
	for err := range tx.Check() { // to the end: its goroutine waits for that
		if first == nil {
			first = fmt.Errorf("%w: %w", ErrDamaged, err)
		}
	}
	meta := tx.Bucket(bucketMeta)
	if first != nil || meta == nil { // nil: nothing was written yet
		return first
	}
	if v := string(meta.Get(keyVersion)); v != version {
		return fmt.Errorf("%w: version %q: want %q", ErrFormat, v, version)
	}
	ids, err := readStreams(meta)
	if err != nil {
		return err
	}
	if boot, ok := unpack(bucketMeta, keyBoot, meta.Get(keyBoot)); !ok || len(boot) != 8 {
		return fmt.Errorf("%w: boot counter", ErrDamaged)
	}
	for _, id := range ids {
		for _, l := range wire.Lanes() {
			if err := checkLane(tx, place{id, l}); err != nil {
				return err
			}
		}
	}
	return checkValues(tx, bucketState)
}

func checkLane(tx *bolt.Tx, p place) error {
	st, err := readHead(tx.Bucket(bucketMeta), p)
	if err != nil {
		return err
	}
	b := tx.Bucket(p.bucket())
	if b == nil {
		return fmt.Errorf("%w: no lane %v", ErrDamaged, p)
	}
	if k, _ := b.Cursor().Last(); k != nil && number(k) >= st.next {
		return fmt.Errorf("%w: lane %v holds number %d: want less than %d", ErrDamaged, p, number(k), st.next)
	}
	return checkValues(tx, p.bucket())
}

func checkValues(tx *bolt.Tx, bucket []byte) error {
	b := tx.Bucket(bucket)
	if b == nil {
		return fmt.Errorf("%w: no bucket %q", ErrDamaged, bucket)
	}
	return b.ForEach(func(k, v []byte) error {
		if _, ok := unpack(bucket, k, v); !ok {
			return fmt.Errorf("%w: wrong checksum in %q at %x", ErrDamaged, bucket, k)
		}
		return nil
	})
}

// checkMemory is how many bytes a check may take: a number on a damaged page can
// ask for any amount.
const checkMemory = 256 << 20

// Exit codes of CheckMain: the file is in use, or the system refused something
// that says nothing of the file. What else than these and 0 a check exits with,
// or dies of, is damage.
const (
	exitInUse   = 4
	exitRefused = 5
)

// CheckMain is the process that does a check for [CheckIn]: it says on w what is
// wrong and returns the exit code. It bounds the memory of its process.
func CheckMain(path string, w io.Writer) int {
	limitMemory(checkMemory)
	err := Check(path)
	if err != nil {
		fmt.Fprintln(w, err)
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, ErrInUse):
		return exitInUse
	case !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrFormat):
		return exitRefused
	}
	return 1
}

// CheckIn has [Check] done by a process of its own, which may die of the file or
// hang: command is its name and arguments, and gets the path as one more; it
// runs [CheckMain]. The error
// is that of Check, or wraps [ErrRefused]; a process that took longer than [CheckTime] or died means
// [ErrDamaged] as well. A command that cannot be started is no judgement: the
// check is then done in this process.
func CheckIn(ctx context.Context, command []string, path string) error {
	if len(command) == 0 {
		return Check(path)
	}
	ctx, cancel := context.WithTimeout(ctx, CheckTime)
	defer cancel()
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], path)...)
	cmd.Stderr = &out
	cmd.WaitDelay = time.Second
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return Check(path)
	}
	err := cmd.Wait()
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.Is(context.Cause(ctx), context.Canceled):
		return ctx.Err()
	case ctx.Err() != nil:
		return fmt.Errorf("spool %s: %w: its check did not end in %v", path, ErrDamaged, CheckTime)
	case errors.As(err, &exit) && exit.ExitCode() == exitInUse:
		return fmt.Errorf("spool %s: %w", path, ErrInUse)
	}
	line, _, _ := strings.Cut(out.String(), "\n")
	if exit != nil && exit.ExitCode() == exitRefused {
		return fmt.Errorf("%w: %s", ErrRefused, line)
	}
	return fmt.Errorf("spool %s: %w: its check ended with %w: %s", path, ErrDamaged, err, line)
}
