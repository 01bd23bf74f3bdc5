package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/gps"
)

const (
	// gpsMute is after how long without a word a receiver is looked for at other
	// speeds: receivers speak each second.
	gpsMute = 10 * time.Second
	// antennaFor is how long an antenna must be called bad, or good again: a
	// receiver that starts may call it open for a moment.
	antennaFor = 3 * time.Second
)

// errMute means that a receiver says nothing at its speed.
var errMute = errors.New("nothing is heard from the receiver")

// watchGPS follows the receiver until ctx ends.
func (a *Agent) watchGPS(ctx context.Context) {
	r := gps.ReceiverByName(a.cfg.GPS.Receiver) // nil: it is told nothing
	mute := false
	a.reopen(ctx, func(ctx context.Context) (io.ReadWriteCloser, error) {
		if mute && r != nil && a.ports.GPSAt != nil {
			found, err := r.Hurry(ctx, a.ports.GPSAt, a.cfg.GPS.Baud)
			if err != nil {
				return nil, err
			}
			a.log.Info("receiver found at another speed, and set to ours", "baud", found, "to", a.cfg.GPS.Baud)
		}
		return a.ports.GPS(ctx)
	}, func(err error) {
		mute = errors.Is(err, errMute) || errors.Is(err, gps.ErrMute)
		a.post(ctx, a.other, func() { a.faultBegan(faultGPS, err.Error()) })
	}, func(port io.ReadWriteCloser) error { return a.readGPS(ctx, port, r) })
}

// readGPS reads one port until it fails, or is mute.
func (a *Agent) readGPS(ctx context.Context, port io.ReadWriteCloser, r *gps.Receiver) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	var closing sync.Once
	var closed error
	end := func() { closing.Do(func() { closed = port.Close() }) }
	defer context.AfterFunc(ctx, end)()
	var setup sync.WaitGroup
	defer func() {
		cancel()
		end()
		setup.Wait()
		err = errors.Join(err, closed)
	}()
	silent := time.AfterFunc(time.Hour, end)
	defer silent.Stop()
	search := r != nil && a.ports.GPSAt != nil
	awake := func() { silent.Reset(gpsMute) }
	if !search {
		silent.Stop()
		awake = func() {}
	}
	awake()
	answers := make(chan gps.Answer, 16)
	if r != nil {
		setup.Go(func() { a.setUpGPS(ctx, port, r, answers) })
	}
	var told time.Time // when the loop was told that something is heard
	var was antennaWord
	d := gps.NewListener(port, func(h gps.Heard) {
		if h.Answer != nil {
			select {
			case answers <- *h.Answer:
			default: // nobody waits
			}
		}
		if h.Sentence == "" {
			return
		}
		awake()
		if now := time.Now(); now.Sub(told) >= time.Second {
			told = now
			a.post(ctx, a.other, func() { a.batch.heard = a.clock.Mono(); a.faultEnded(faultGPS) })
		}
		if h.Antenna != gps.AntennaUntold && was.changed(h.Antenna, time.Now()) {
			a.post(ctx, a.other, func() { a.antenna(h.Antenna) })
		}
	})
	for {
		f, err := d.Next()
		if err != nil {
			if search && !silent.Stop() && ctx.Err() == nil {
				err = errMute // the timer has closed the port
			}
			return fmt.Errorf("gps: %w", err)
		}
		a.post(ctx, a.other, func() { a.fixed(f) })
	}
}

// An antennaWord is what a receiver last said of its antenna.
type antennaWord struct {
	says  gps.Antenna
	since time.Time
	told  gps.Antenna
}

// changed reports whether that is something new, and has lasted.
func (w *antennaWord) changed(says gps.Antenna, at time.Time) bool {
	if says != w.says {
		w.says, w.since = says, at
	}
	if says == w.told || at.Sub(w.since) < antennaFor {
		return false
	}
	w.told = says
	return true
}

// antenna takes a receiver's word on its antenna.
func (a *Agent) antenna(says gps.Antenna) {
	switch {
	case says == gps.AntennaShort:
		a.faultEnded(faultAntenna + ":open")
		a.faultBegan(faultAntenna+":short", "the receiver measures a short circuit: its antenna's cable is crushed or wet")
	case says == gps.AntennaOpen && a.cfg.GPS.Antenna != config.Passive:
		a.faultEnded(faultAntenna + ":short")
		a.faultBegan(faultAntenna+":open", "the receiver measures no antenna: it is unplugged or its cable is cut; a passive one wants gps.antenna: passive")
	default:
		a.faultEnded(faultAntenna + ":open")
		a.faultEnded(faultAntenna + ":short")
	}
}

// setUpGPS tells the receiver what it is to do.
func (a *Agent) setUpGPS(ctx context.Context, port io.Writer, r *gps.Receiver, answers <-chan gps.Answer) {
	failed, err := r.SetUp(ctx, port, a.cfg.GPS.Rate, answers)
	if err != nil {
		return // the reader meets the same
	}
	a.post(ctx, a.other, func() {
		if len(failed) == 0 {
			a.faultEnded(faultGPSSetup)
			return
		}
		a.faultBegan(faultGPSSetup, fmt.Sprintf("%d of %d commands not taken, first %s: is it a %s?",
			len(failed), len(r.Commands(a.cfg.GPS.Rate)), failed[0].Section, a.cfg.GPS.Receiver))
	})
}

// checkGPS makes faults of a receiver that is silent, or searches for long.
func (a *Agent) checkGPS() {
	if a.ports.GPS == nil {
		return
	}
	now, b, patience := a.clock.Mono(), &a.batch, time.Duration(a.cfg.GPS.Patience)
	switch {
	case now-b.heard >= patience:
		a.faultEnded(faultNoFix)
		a.faultBegan(faultGPS, "nothing heard for "+patience.String())
	case b.heard > 0 && now-b.seen >= patience:
		a.faultBegan(faultNoFix, fmt.Sprintf("it searches, without a fix for %v", (now-b.seen).Truncate(time.Second)))
	}
}
