package agent

import (
	"context"
	"fmt"
	"io"
	"net"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/button"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/lamp"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/voice"
	"github.com/fengsui/fengsui/firmware/wire"
)

// OpenPorts makes the ports that a configuration names. The function line
// returns a GPIO line by its name; nil means this machine's lines. Serial ports
// are opened when they are used.
func OpenPorts(cfg *config.Config, line func(name string) (gpio.PinIO, error)) (Ports, error) {
	if line == nil {
		line = hw.Line
	}
	p := Ports{Buttons: make(map[string]gpio.PinIn), Loops: make(map[string]button.Loop), Lamps: make(map[string]gpio.PinOut)}
	for name, b := range cfg.Buttons {
		if b.Supervised != nil {
			l, err := openLoop(b, line)
			if err != nil {
				return Ports{}, fmt.Errorf("button %q: %w", name, err)
			}
			p.Loops[name] = l
			continue
		}
		pin, err := input(line, b.Line, b.Pull)
		if err != nil {
			return Ports{}, fmt.Errorf("button %q: %w", name, err)
		}
		p.Buttons[name] = pin
	}
	var err error
	if p.Inputs, err = openInputs(cfg, line); err != nil {
		return Ports{}, err
	}
	for name, l := range cfg.Lamps.ByName() {
		pin, err := line(l.Line)
		if err != nil {
			return Ports{}, fmt.Errorf("lamp %q: %w", name, err)
		}
		p.Lamps[name] = pin
	}
	if cfg.Siren != nil {
		pin, err := line(cfg.Siren.Line)
		if err != nil {
			return Ports{}, fmt.Errorf("siren: %w", err)
		}
		p.Siren = pin
	}
	if v := cfg.Audio; v != nil {
		p.Voice = func(ctx context.Context, s voice.Sound) error { return hw.Sound(ctx, v.Card, s.Rate, s.Samples) }
	}
	if g := cfg.GPS; g != nil {
		p.GPSAt = func(ctx context.Context, baud int) (io.ReadWriteCloser, error) { return hw.Serial(ctx, g.Port, baud) }
		p.GPS = func(ctx context.Context) (io.ReadWriteCloser, error) { return p.GPSAt(ctx, g.Baud) }
	}
	if t := cfg.Terminal; t != nil {
		p.Terminal = func() (net.Listener, error) { return net.Listen("tcp", string(t.Listen)) }
	}
	if m := cfg.Modem; m != nil {
		p.Modem = func(ctx context.Context) (io.ReadWriteCloser, error) { return hw.Serial(ctx, m.Port, m.Baud) }
	}
	if f := cfg.Fingerprint; f != nil {
		p.Fingerprint = func(ctx context.Context, baud int) (io.ReadWriteCloser, error) { return hw.Serial(ctx, f.Port, baud) }
	}
	return p, nil
}

func (a *Agent) lampOutputs(ctx context.Context) lamp.Outputs {
	out := func(name string, l *config.Line) lamp.Output {
		if l == nil || a.ports.Lamps[name] == nil {
			return lamp.Output{}
		}
		return lamp.Output{Pin: a.ports.Lamps[name], ActiveLow: l.Active == "low"}
	}
	o := lamp.Outputs{Red: out("red", a.cfg.Lamps.Red), Amber: out("amber", a.cfg.Lamps.Amber), Green: out("green", a.cfg.Lamps.Green)}
	o.Failed = func(output string, err error) {
		a.post(ctx, a.other, func() {
			if err != nil {
				a.faultBegan(faultLamp+":"+output, err.Error())
			} else {
				a.faultEnded(faultLamp + ":" + output)
			}
		})
	}
	if s := a.cfg.Siren; s != nil && a.ports.Siren != nil {
		o.Siren = lamp.Output{Pin: a.ports.Siren, ActiveLow: s.Active == "low"}
		o.Sounds = lamp.Rounds{Limit: time.Duration(s.Limit), Pause: time.Duration(s.Pause), Times: s.Rounds}
	}
	return o
}

func (a *Agent) uplinkOptions(ctx context.Context) uplink.Options {
	var servers []string
	for _, s := range a.cfg.Centre.Servers {
		servers = append(servers, string(s))
	}
	return uplink.Options{
		Device: a.cfg.Device, Boot: a.spool.Boot(), Mono: a.clock.Mono, Firmware: a.opt.Version,
		Servers: servers, Key: a.key, CentreKey: []byte(a.cfg.Centre.Key), Store: uplink.Of(a.spool), Dial: a.ports.Dial, Log: a.log,
		OnSound: func(b *wire.Sound, left time.Duration) {
			a.post(ctx, a.other, func() { a.soundFor(b, left) })
		},
		OnMode:       func(b *wire.Mode, left time.Duration) { a.post(ctx, a.other, func() { a.setMode(b, left) }) },
		OnNotice:     func(n *wire.Notice) { a.post(ctx, a.other, func() { a.notice(n) }) },
		OnAssignment: func(b *wire.Assignment) { a.post(ctx, a.other, func() { a.assigned(b) }) },
		OnAck: func(stream wire.StreamID, l wire.Lane, upTo uint64) {
			a.post(ctx, a.other, func() { a.committed(stream, l, upTo) })
		},
		OnCentreTime: func(at time.Time, roundTrip time.Duration) {
			now := a.clock.Mono()
			a.clock.FromCentre(at, now-roundTrip, now)
		},
		OnOther: func(detail string) {
			stream := a.spool.Stream()
			a.post(ctx, a.other, func() { a.rolledBack(stream, detail) })
		},
		OnSilent: func(silent bool) {
			a.post(ctx, a.other, func() {
				if silent {
					a.faultBegan(faultCentre, "nothing acknowledged for a minute")
				} else {
					a.faultEnded(faultCentre)
				}
			})
		},
	}
}

func (a *Agent) watchButton(ctx context.Context, name string) {
	tell := a.tellButton(ctx, name)
	if l := a.ports.Loops[name]; l != nil {
		a.watchLoop(ctx, name, l, tell)
		return
	}
	active := gpio.Level(a.cfg.Buttons[name].Active == "high")
	button.Watch(ctx, a.ports.Buttons[name], active, button.Timing{}, tell)
}

// tellButton returns what takes the kinds of a button to the loop.
func (a *Agent) tellButton(ctx context.Context, name string) func(button.Kind) {
	return func(k button.Kind) {
		code := faultButton + ":" + name
		switch k {
		case button.Pressed:
			at := stamp{mono: a.clock.Mono(), wall: a.clock.Wall()} // before anything waits for the loop
			a.post(ctx, a.urgent, func() { a.pressed(name, at) })
		case button.Stuck:
			a.post(ctx, a.other, func() { a.faultBegan(code, "the line stays pressed") })
		case button.Noisy:
			a.post(ctx, a.other, func() { a.faultBegan(code, "the line chatters as no hand can, and is not believed until it rests") })
		case button.Freed, button.Quiet:
			a.post(ctx, a.other, func() { a.faultEnded(code) })
		}
	}
}

// reopen runs use on a port again and again until ctx ends, with a pause that
// grows to half a minute while the port fails, and tells of each failure.
func (a *Agent) reopen(ctx context.Context, open Opener, failed func(error), use func(io.ReadWriteCloser) error) {
	const first, limit = time.Second, 30 * time.Second
	for pause := first; ctx.Err() == nil; pause = min(2*pause, limit) {
		began := time.Now()
		port, err := open(ctx)
		if err == nil {
			err = use(port)
		}
		if ctx.Err() != nil {
			return
		}
		failed(err)
		if time.Since(began) > limit {
			pause = first
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}
