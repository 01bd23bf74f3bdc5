package doctor

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	syncs     = 40                     // writes that are measured
	slowSync  = 250 * time.Millisecond // the median: an alarm waits for one of them
	stalled   = 3 * time.Second        // the slowest
	probeSize = 4 << 20                // bytes that are written, dropped from memory and read back
	hot       = 800                    // tenths of a degree
)

// checkStorage measures how long the card takes for what an alarm waits for,
// and whether it gives back what it was given.
func checkStorage(ctx context.Context, s *session) outcome {
	dir := s.Config.Data
	unwritten := func(err error) outcome {
		if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
			return found(Fail, "disk_full", "free_mib", "0", "want_mib", fmt.Sprint(2*s.Config.Spool.LimitMiB))
		}
		return failed("disk_read_only", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return unwritten(err)
	}
	f, err := os.CreateTemp(dir, ".doctor-*")
	if err != nil {
		return unwritten(err)
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var took []time.Duration
	block := make([]byte, 4096)
	for i := range syncs {
		began := time.Now()
		_, err := f.WriteAt(block, int64(i)*4096)
		if err = errors.Join(err, f.Sync()); err != nil {
			return unwritten(err)
		}
		if took = append(took, time.Since(began)); ctx.Err() != nil {
			break
		}
	}
	slices.Sort(took)
	median, worst := took[len(took)/2], took[len(took)-1]
	free := uint64(0)
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err == nil {
		free = fs.Bavail * uint64(fs.Bsize) >> 20
	}
	values := []string{"median_ms", ms(median), "worst_ms", ms(worst), "free_mib", fmt.Sprint(free), "dir", filepath.Base(dir)}
	if err := readBack(f); errors.Is(err, unix.ENOSPC) {
		return unwritten(err)
	} else if err != nil {
		return found(Fail, "disk_read_back", append(values, "error", err.Error())...)
	}
	switch {
	case median > slowSync || worst > stalled:
		return found(Fail, "disk_slow", values...)
	case int(free) < 2*s.Config.Spool.LimitMiB:
		return found(Fail, "disk_full", append(values, "want_mib", fmt.Sprint(2*s.Config.Spool.LimitMiB))...)
	}
	return found(Pass, "disk_good", values...)
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d.Microseconds())/1000) }

// readBack writes what nobody could guess, and reads it from the card.
func readBack(f *os.File) error {
	wrote, read := make([]byte, probeSize), make([]byte, probeSize)
	if _, err := rand.Read(wrote); err != nil {
		return err
	}
	if _, err := f.WriteAt(wrote, 0); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // a file system in memory has no other copy
	if _, err := f.ReadAt(read, 0); err != nil {
		return err
	}
	if !bytes.Equal(wrote, read) {
		return errors.New("other bytes came back than were written")
	}
	return nil
}

func checkKey(_ context.Context, s *session) outcome {
	key, err := agent.LoadOrCreateKey(s.Config.Data)
	if err != nil {
		return failed("key_bad", err)
	}
	s.key = key
	return found(Pass, "key_good", "key", hexKey(key))
}

// checkSpool opens the spool, which no agent may have.
func checkSpool(ctx context.Context, s *session) outcome {
	path := agent.SpoolPath(s.Config)
	sp, err := spool.Recover(path, spool.Options{MaxSize: int64(s.Config.Spool.LimitMiB) << 20, Log: s.Log}, func(path string) error {
		return spool.CheckIn(ctx, s.CheckSpool, path)
	})
	switch {
	case errors.Is(err, spool.ErrInUse):
		return found(Fail, "agent_runs")
	case err != nil:
		return failed("spool_bad", err)
	}
	s.spool = sp
	if started, err := sp.Started(); err == nil && started != nil && started.Why == wire.StartDamaged {
		return found(Fail, "spool_damaged", "error", started.Detail)
	}
	waiting := uint64(0)
	for _, n := range sp.Depth() {
		waiting += n
	}
	return found(Pass, "spool_good", "waiting", fmt.Sprint(waiting))
}

func checkTemperature(_ context.Context, s *session) outcome {
	t, ok := s.Sensors.Temperature()
	switch v := fmt.Sprintf("%.1f", float64(t)/10); {
	case !ok:
		return found(Absent, "no_thermometer")
	case t > hot:
		return found(Fail, "hot", "celsius", v)
	default:
		return found(Pass, "cool", "celsius", v)
	}
}

func checkSupply(_ context.Context, s *session) outcome {
	seen, ok := s.Sensors.Supply()
	switch {
	case !ok:
		return found(Absent, "supply_untold")
	case seen&hwUnder != 0:
		return found(Fail, "supply_weak")
	case seen&hwUnderWas != 0:
		return found(Fail, "supply_was_weak")
	}
	return found(Pass, "supply_good")
}

// checkClock comes last: by then the centre and the receiver have been heard.
func checkClock(_ context.Context, s *session) outcome {
	w := s.clock.Wall()
	ahead, within, ok := s.clock.System()
	switch {
	case ok && ahead.Abs() > within+time.Second: // a second may be a leap second
		return found(Fail, "clock_wrong", "seconds", fmt.Sprintf("%+.1f", ahead.Seconds()), "source", w.Source.String())
	case w.Source != wire.WallNone:
		return found(Pass, "clock_good", "source", w.Source.String(), "within_ms", fmt.Sprint(w.Uncertainty.Milliseconds()))
	case s.Bare:
		return found(Absent, "clock_untold")
	}
	return found(Fail, "clock_unset")
}
