// Package play runs a scenario on a district: it does each step at its time,
// watches for what is expected, and reports.
//
// What holds is judged from outside: by the desk's API, by the edges of lines,
// and by the ledger of what was injected. The agent is not asked.
package play

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/scenario"
)

// ErrLimit means that a scenario lasted longer than its limit.
var ErrLimit = errors.New("the scenario's limit has passed")

// A player runs one scenario.
type player struct {
	s    *scenario.Scenario
	d    *district.District
	out  io.Writer
	zero time.Duration // of package mono: the timeline's beginning
	desk *watcher

	fetch sync.Mutex // guards known
	known map[string]*log

	mu     sync.Mutex
	acks   []ack
	failed int
	report *Report
}

// An ack is an acknowledgement at the desk.
type ack struct {
	device string
	at     time.Duration // when it was asked for
}

// warm is how long devices run before the timeline begins, so that whatever is
// injected from then on has to be captured.
const warm = 2 * time.Second

// settle is how long after the last step what was injected may take to reach
// the desk, before the account is closed.
const settle = 10 * time.Second

// Run plays a scenario on a district that is ready, and tells each step's
// outcome on out. The report is complete also when expectations fail; the error
// is about the running itself.
func Run(ctx context.Context, s *scenario.Scenario, d *district.District, out io.Writer) (*Report, error) {
	p := &player{
		s: s, d: d, out: out, known: make(map[string]*log),
		report: &Report{Scenario: s.Name, Seed: s.Seed, Started: time.Now().UTC(), Steps: make([]StepReport, len(s.Timeline))},
	}
	var err error
	if p.desk, err = watch(ctx, d.Desk); err != nil {
		return nil, err
	}
	defer p.desk.close()
	if !sleepUntil(ctx, mono.Now()+warm) {
		return nil, context.Cause(ctx)
	}
	p.zero = mono.Now()
	limited, cancel := context.WithTimeoutCause(ctx, time.Duration(s.Limit), ErrLimit)
	p.timeline(limited)
	cancel()

	end := mono.Now()
	account, err := p.account(ctx, end, settle)
	if err != nil {
		return nil, err
	}
	devices, err := d.Desk.Devices(ctx)
	if err != nil {
		return nil, err
	}
	gaps := make(map[string]int)
	for _, dev := range devices {
		gaps[dev.ID] = len(dev.Gaps)
	}
	p.report.finish(p, account, gaps, end)
	return p.report, nil
}

// timeline runs all steps and waits for them.
func (p *player) timeline(ctx context.Context) {
	var all sync.WaitGroup
	// Doing takes time (a press waits for the one before it): a device's steps are
	// done in their order, and do not hold up other devices' steps.
	tail := make(map[string]chan struct{})
	for i := range p.s.Timeline {
		st := &p.s.Timeline[i]
		if !sleepUntil(ctx, p.zero+st.Start()) {
			p.outcome(i, st, p.zero+st.Start(), context.Cause(ctx))
			continue
		}
		if st.Expect != "" {
			all.Go(func() {
				err := p.expect(ctx, st)
				if err != nil && ctx.Err() != nil {
					err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
				}
				p.outcome(i, st, p.zero+st.Start(), err)
			})
			continue
		}
		ids := []string{theCentre}
		switch {
		case st.Device == nil:
		case *st.Device == scenario.All:
			ids = p.d.IDs()
		default:
			ids = []string{*st.Device}
		}
		var before []chan struct{}
		done := make(chan struct{})
		for _, id := range ids {
			if tail[id] != nil {
				before = append(before, tail[id])
			}
			tail[id] = done
		}
		all.Go(func() {
			defer close(done)
			for _, b := range before {
				<-b
			}
			at := mono.Now()
			var err error
			for _, id := range ids {
				err = errors.Join(err, p.do(ctx, st, id))
			}
			p.outcome(i, st, at, err)
		})
	}
	all.Wait()
}

// sleepUntil returns false when ctx ended before.
func sleepUntil(ctx context.Context, at time.Duration) bool {
	t := time.NewTimer(at - mono.Now())
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}

// outcome notes how a step ended.
func (p *player) outcome(i int, st *scenario.Step, from time.Duration, err error) {
	r := StepReport{Step: i + 1, At: st.At.String(), What: st.String(), OK: err == nil, TookMS: ms(mono.Now() - from)}
	word := "ok  "
	if err != nil {
		r.Detail = err.Error()
		word = "FAIL"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.report.Steps[i] = r
	if err != nil {
		p.failed++
	}
	fmt.Fprintf(p.out, "%9.3fs  %s  %s", (mono.Now() - p.zero).Seconds(), word, r.What)
	if err != nil {
		fmt.Fprintf(p.out, ": %v", err)
	}
	fmt.Fprintln(p.out)
}

// theCentre stands for the centre among the ids of devices, none of which has
// a space.
const theCentre = "the centre"

// do does a step to one device, or to the centre.
func (p *player) do(ctx context.Context, st *scenario.Step, id string) error {
	switch st.Do {
	case "centre kill":
		p.d.Centre.Kill()
		return nil
	case "centre start":
		return p.d.Centre.Start(ctx)
	}
	dev, err := p.d.Device(id)
	if err != nil {
		return err
	}
	switch st.Do {
	case "press":
		_, err = dev.Press(ctx, *st.Button, district.PressOptions{Bounce: is(st.Bounce), Hold: is(st.Hold), For: duration(st.For)})
	case "release":
		err = dev.Release(*st.Button, is(st.Bounce))
	case "wire cut":
		err = dev.Wire(*st.Button, district.Cut)
	case "wire short":
		err = dev.Wire(*st.Button, district.Shorted)
	case "wire mend":
		err = dev.Wire(*st.Button, district.Sound)
	case "trip", "restore":
		err = dev.Trip(*st.Input, st.Do == "trip")
	case "finger":
		_, err = dev.Finger(ctx, *st.Slot, duration(st.For))
	case "reader unplug", "reader plug":
		err = dev.PlugReader(st.Do == "reader plug")
	case "link cut":
		err = dev.Link(link.Cut)
	case "link restore":
		err = dev.Link(link.Up)
	case "link black hole":
		err = dev.Link(link.BlackHoled)
	case "sms cut", "sms restore":
		err = dev.SMS(st.Do == "sms restore")
	case "power cut":
		dev.PowerCut()
	case "power restore":
		err = dev.PowerRestore()
	case "twin start", "twin end":
		err = dev.Twin(st.Do == "twin start")
	case "drive":
		speed := scenario.DefaultSpeed
		if st.Speed != nil {
			speed = *st.Speed
		}
		err = dev.Drive(scenario.Drive{Route: st.Route, Speed: speed})
	case "park":
		err = dev.Park()
	case "lose fix":
		err = dev.LoseFix()
	case "antenna open", "antenna short", "antenna mend":
		maker := scenario.DefaultMaker
		if st.Maker != nil {
			maker = *st.Maker
		}
		err = dev.Antenna(maker, map[string]string{"antenna open": "OPEN", "antenna short": "SHORT", "antenna mend": "OK"}[st.Do])
	case "teleport":
		lasts := scenario.DefaultAstray
		if st.For != nil {
			lasts = time.Duration(*st.For)
		}
		err = dev.Teleport(*st.To, lasts)
	case "replay":
		speed := 1.0
		if st.Speed != nil {
			speed = *st.Speed
		}
		err = dev.Replay(p.s.LogPath(*st.Log), speed)
	case "set clock":
		err = dev.SetClock(*st.Clock)
	case "acknowledge", "dispatch", "close":
		err = p.act(ctx, st, id)
	default:
		err = fmt.Errorf("play: no verb %q", st.Do)
	}
	return err
}

// incidentPatience is how long a step at the desk waits for its incident.
const incidentPatience = 5 * time.Second

// act does a step at the desk.
func (p *player) act(ctx context.Context, st *scenario.Step, id string) error {
	var found *desk.Incident
	deadline := mono.Now() + incidentPatience
	if !p.desk.until(ctx, deadline, func(all []seen) bool {
		found = nil
		for _, i := range all {
			if i.Device == id && i.State != "closed" && ofKind(&i.Incident, st.Kind) {
				found = &i.Incident // the newest stands last
			}
		}
		return found != nil
	}) {
		return fmt.Errorf("no incident of %s that is not closed came to the desk within %v", id, incidentPatience)
	}
	by := scenario.DefaultBy
	if st.By != nil {
		by = *st.By
	}
	switch st.Do {
	case "acknowledge":
		others := slices.ContainsFunc(p.desk.all(), func(i seen) bool {
			return i.Device == id && i.ID != found.ID && i.State == "open" && ofKind(&i.Incident, nil)
		})
		if !others && ofKind(found, nil) { // with others the lamps tell of those first
			p.mu.Lock()
			p.acks = append(p.acks, ack{id, mono.Now()})
			p.mu.Unlock()
		}
		return p.d.Desk.Acknowledge(ctx, found.ID, by)
	case "dispatch":
		return p.d.Desk.Dispatch(ctx, found.ID, by, *st.Unit)
	default:
		note := ""
		if st.Note != nil {
			note = *st.Note
		}
		return p.d.Desk.CloseIncident(ctx, found.ID, by, *st.Code, note)
	}
}

func is(b *bool) bool { return b != nil && *b }

func duration(d *scenario.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return time.Duration(*d)
}

// account compares the ledger with the desk until it is complete or patience
// has passed. What is injected at or after until is not counted.
func (p *player) account(ctx context.Context, until, patience time.Duration) (ledger.Account, error) {
	for deadline := mono.Now() + patience; ; {
		a, err := p.reconcile(ctx, until)
		if err == nil && a.Complete() || mono.Now() >= deadline || ctx.Err() != nil {
			return a, err
		}
		if !sleepUntil(ctx, min(mono.Now()+300*time.Millisecond, deadline)) {
			return a, err
		}
	}
}
