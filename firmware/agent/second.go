package agent

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/fengsui/fengsui/firmware/lamp"
	"github.com/fengsui/fengsui/firmware/modem"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// The second path: a press that the centre does not acknowledge in time goes
// there by SMS, again and again, until the centre answers one way or the other.

// A text is a press that goes by SMS unless it is acknowledged before.
type text struct {
	alarm  wire.AlarmID
	press  uint64
	at     place         // of its event
	data   []byte        // the SMS
	quiet  bool          // nothing here may tell of it
	since  time.Duration // Mono of the press, or of the start if that was before
	next   time.Duration // Mono at which it goes (again)
	pause  time.Duration // after that
	busy   bool          // it is being sent
	sent   uint64        // messages that the network took
	failed uint64        // … that were refused
}

const (
	textPause = 30 * time.Second // from one SMS to the next of the same press
	textMost  = 10 * time.Minute
	textAgain = 5 * time.Second // after one that could not be sent
	textLimit = 90 * time.Second
	maxTexts  = 64 // that wait for the modem
	// noNetwork is how long a modem may be without a network before that is a
	// fault: it looks for one anew now and then.
	noNetwork = time.Minute
)

// textSoon notes that an event was stored, which may be a press.
func (a *Agent) textSoon(msg []byte) {
	if a.cfg.Modem == nil {
		return
	}
	e, err := wire.Peek(msg)
	if err != nil {
		return
	}
	if _, ok := e.Body.(*wire.AlarmRaised); ok {
		a.addText(e, msg)
	}
}

func (a *Agent) addText(e *wire.Event, msg []byte) {
	x, err := wire.SMSAlarmOf(e, msg)
	var data []byte
	if err == nil {
		data, err = wire.SealSMSAlarm(x, a.key)
	}
	if err != nil {
		a.log.Error("a press cannot go by SMS", "err", err)
		return
	}
	now := a.clock.Mono()
	a.texts = append(a.texts, &text{
		alarm: x.Alarm, press: x.Press, at: place{e.Stream, e.Seq}, data: data, quiet: x.Silent || x.Kind == wire.Duress,
		since: now, next: now + time.Duration(a.cfg.Modem.After), pause: textPause,
	})
}

// sendTexts hands those to the modem whose time has come.
func (a *Agent) sendTexts() {
	if a.modem == nil {
		return
	}
	if st := a.modem.State(); st.Err() != nil || st.SIM == "" {
		return // as soon as it can
	}
	for _, x := range a.texts {
		if x.busy || a.clock.Mono() < x.next {
			continue
		}
		select {
		case a.outbox <- x:
			x.busy = true
		default:
			return
		}
	}
}

// sendOutbox sends what sendTexts hands over, until ctx ends.
func (a *Agent) sendOutbox(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case x := <-a.outbox:
			var err error
			for _, number := range a.cfg.Modem.Centre {
				limited, cancel := context.WithTimeout(ctx, textLimit)
				err = a.modem.Send(limited, string(number), x.data)
				cancel()
				if err == nil {
					break
				}
			}
			a.post(ctx, a.other, func() { a.textSent(x, err) })
		}
	}
}

func (a *Agent) textSent(x *text, err error) {
	x.busy = false
	now := a.clock.Mono()
	if err != nil {
		x.failed++
		x.next = now + textAgain
		if !x.quiet {
			a.log.Warn("SMS not sent", "alarm", x.alarm, "press", x.press, "err", err)
		}
		return
	}
	x.sent++
	x.next = now + x.pause
	x.pause = min(2*x.pause, textMost)
	if !x.quiet {
		a.log.Info("alarm sent by SMS", "alarm", x.alarm, "press", x.press)
	}
}

// textsCommitted forgets the presses that the centre has by the other way.
func (a *Agent) textsCommitted(stream wire.StreamID, upTo uint64) {
	a.endTexts(false, func(x *text) bool { return x.at.stream == stream && x.at.seq <= upTo })
}

// answeredBySMS takes the centre's word that came by SMS.
func (a *Agent) answeredBySMS(ans *wire.SMSAnswer) {
	for button, p := range a.latches {
		if p.Alarm != ans.Alarm {
			continue
		}
		p.Texted = max(p.Texted, ans.Press)
		if p.Step == lamp.Stored {
			p.Step = lamp.CentreHas
		}
		if !hidden(button) {
			a.log.Info("the centre answers by SMS", "alarm", p.Alarm, "press", ans.Press)
		}
	}
	a.endTexts(true, func(x *text) bool { return x.alarm == ans.Alarm && x.press <= ans.Press })
	if n := ans.Notice(); n != nil {
		a.notice(n)
	}
}

// endTexts ends those that are over, and reports the ones that the modem had.
func (a *Agent) endTexts(answered bool, over func(*text) bool) {
	kept := a.texts[:0]
	var ended []*text
	for _, x := range a.texts {
		if over(x) {
			ended = append(ended, x)
		} else {
			kept = append(kept, x)
		}
	}
	clear(a.texts[len(kept):])
	a.texts = kept
	for _, x := range ended {
		if x.quiet || x.sent+x.failed == 0 {
			continue
		}
		var kv []spool.KV
		if button := a.buttonOf(x.alarm); button != "" && answered {
			kv = append(kv, latchKV(button, a.latches[button]))
		}
		a.store(a.stamp(), wire.Duty, &wire.SecondPath{
			Alarm: x.alarm, Press: x.press, Sent: x.sent, Failed: x.failed, Answered: answered,
			AfterMs: uint64((a.clock.Mono() - x.since).Milliseconds()),
		}, nil, kv...)
	}
}

// Fault codes of the modem.
const (
	faultModem      = "modem_lost"
	faultSIM        = "no_sim"
	faultSIMLocked  = "sim_locked"
	faultRegistered = "not_registered"
)

// newModem makes the driver; ctx is Run's.
func (a *Agent) newModem(ctx context.Context) *modem.Modem {
	return modem.New(modem.Options{
		PIN: a.cfg.Modem.PIN, PINs: SIMTries(a.cfg, a.log), Log: a.log,
		OnState: func(st modem.State) { a.post(ctx, a.other, func() { a.modemState(&st) }) },
		OnSMS: func(_ string, data []byte) bool {
			ans, err := wire.OpenSMSAnswer(data, a.cfg.Device, []byte(a.cfg.Centre.Key))
			if err != nil {
				a.log.Debug("SMS that is not the centre's word to us", "err", err)
				return true
			}
			a.post(ctx, a.other, func() { a.answeredBySMS(ans) })
			return true
		},
	})
}

func (a *Agent) watchModem(ctx context.Context) {
	a.reopen(ctx, a.ports.Modem, func(err error) {
		a.post(ctx, a.other, func() { a.faultBegan(faultModem, err.Error()) })
	}, func(port io.ReadWriteCloser) error { return a.modem.Run(ctx, port) })
}

// modemState makes faults of what the modem says.
func (a *Agent) modemState(st *modem.State) {
	a.faultEnded(faultModem)
	err := st.Err()
	now := a.clock.Mono()
	if err == nil {
		a.registered = now
	}
	for code, is := range map[string]bool{
		faultSIM:        errors.Is(err, modem.ErrNoSIM),
		faultSIMLocked:  errors.Is(err, modem.ErrPIN) || errors.Is(err, modem.ErrPUK),
		faultRegistered: errors.Is(err, modem.ErrNotRegistered) && now-a.registered >= noNetwork,
	} {
		if is {
			a.faultBegan(code, err.Error())
		} else {
			a.faultEnded(code)
		}
	}
	a.sendTexts()
}
