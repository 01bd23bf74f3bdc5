package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/fengsui/fengsui/boards/flash"
)

// flash writes a card.
func (c *command) flash(ctx context.Context, args []string) error {
	fs := c.flags()
	yes := fs.Bool("yes", false, "")
	rest, err := c.parse(fs, args, "FILE.img", "DEVICE")
	if err != nil {
		return err
	}
	path, device := rest[0], rest[1]
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := flash.CheckImage(f, st.Size()); err != nil {
		return errors.New(c.say.text("bad-image", path, err))
	}
	d, err := flash.Linux.Inspect(device, st)
	if err != nil {
		return c.told(err)
	}
	if err := c.confirm(d, *yes); err != nil {
		return err
	}
	last := ""
	err = flash.Write(ctx, d, f, func(s flash.Stage, done, total int64) {
		key := "writing"
		if s == flash.Comparing {
			key = "comparing"
		}
		if line := c.say.text(key, done*100/total, size(done), size(total)); line != last {
			fmt.Fprintf(c.err, "\r%s\033[K", line)
			last = line
		}
	})
	if last != "" {
		fmt.Fprintln(c.err)
	}
	if err != nil {
		return c.told(err)
	}
	fmt.Fprintln(c.out, c.say.text("flashed", device, path))
	return nil
}

// confirm says which disk it is, and asks whether it is meant.
func (c *command) confirm(d *flash.Disk, yes bool) error {
	model := d.Model
	if model == "" {
		model = c.say.text("no-model")
	}
	fmt.Fprintln(c.err, c.say.text("target", d.Path, c.say.text("kind-"+d.Kind), model, size(d.Size)))
	if yes {
		return nil
	}
	fmt.Fprint(c.err, c.say.text("erase", d.Name))
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	answer = strings.TrimSpace(answer)
	if answer != d.Name && answer != d.Path && answer != "yes" {
		if err != nil {
			fmt.Fprintln(c.err)
		}
		return errors.New(c.say.text("not-confirmed"))
	}
	return nil
}

// told says in the person's language why a disk was not written.
func (c *command) told(err error) error {
	var r *flash.Refusal
	if errors.As(err, &r) {
		for _, w := range []struct {
			why error
			key string
		}{
			{flash.ErrMissing, "missing"},
			{flash.ErrNotBlock, "not-block"},
			{flash.ErrPartition, "partition"},
			{flash.ErrMounted, "mounted"},
			{flash.ErrSystem, "system"},
			{flash.ErrUse, "use"},
			{flash.ErrMember, "member"},
			{flash.ErrInternal, "internal"},
			{flash.ErrReadOnly, "read-only"},
			{flash.ErrNoMedium, "no-medium"},
			{flash.ErrTooSmall, "too-small"},
			{flash.ErrSelf, "self"},
			{flash.ErrRights, "rights"},
		} {
			if errors.Is(r.Why, w.why) {
				return errors.New(c.say.text(w.key, r.Path, r.Detail))
			}
		}
	}
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New(c.say.text("stopped"))
	case errors.Is(err, flash.ErrGone):
		return errors.New(c.say.text("gone", err))
	case errors.Is(err, flash.ErrWrite):
		return errors.New(c.say.text("write-failed", err))
	case errors.Is(err, flash.ErrRead):
		return errors.New(c.say.text("read-failed", err))
	case errors.Is(err, flash.ErrDiffers):
		return errors.New(c.say.text("differs", err))
	}
	return err
}

// size says bytes as a card's box does.
func size(n int64) string {
	if n < 1_000_000_000 {
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
