package play

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/ledger"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/scenario"
)

// ErrExpectation means that what was expected did not come; the message says
// what was there instead.
var ErrExpectation = errors.New("not so")

func unmet(format string, a ...any) error {
	return fmt.Errorf("%w: %s", ErrExpectation, fmt.Sprintf(format, a...))
}

// expect waits for what a step expects.
func (p *player) expect(ctx context.Context, st *scenario.Step) error {
	from := p.zero + st.Start()
	deadline := from + time.Duration(*st.Within)
	if st.Expect == "all events stored" {
		return p.expectStored(ctx, from, deadline)
	}
	dev, err := p.d.Device(*st.Device)
	if err != nil {
		return err
	}
	switch st.Expect {
	case "incident":
		return p.expectIncident(ctx, st, deadline)
	case "lamp":
		return p.expectLamp(ctx, dev, st, from, deadline)
	case "siren":
		return p.expectSiren(ctx, dev, *st.Sounds, from, deadline)
	case "officer":
		return p.expectOfficer(ctx, st, from, deadline)
	case "link":
		return p.expectLink(ctx, st, deadline)
	case "track":
		return p.expectTrack(ctx, st, deadline)
	case "fault":
		return p.expectFault(ctx, st, deadline)
	case "place":
		return p.expectPlace(ctx, st, deadline)
	}
	return fmt.Errorf("play: no expectation %q", st.Expect)
}

func (p *player) expectIncident(ctx context.Context, st *scenario.Step, deadline time.Duration) error {
	match := func(i seen) bool {
		return i.Device == *st.Device && ofKind(&i.Incident, st.Kind) &&
			(st.State == nil || i.State == *st.State) &&
			(st.Presses == nil || i.Presses == *st.Presses) && (st.Silent == nil || i.Silent == *st.Silent) &&
			(st.Drill == nil || i.Drill == *st.Drill) && (st.Officer == nil || i.Officer == *st.Officer) &&
			(st.Position == nil || i.Position != nil && i.Position.Source == *st.Position) &&
			(st.Near == nil || i.Position != nil && near(st.Near, i.Position)) &&
			(st.SMS == nil || (i.SMS != nil) == *st.SMS) &&
			(st.Source == nil || i.PressedAt.Source == *st.Source) && (st.Corrected == nil || i.PressedAt.Corrected == *st.Corrected) &&
			(st.Dated == nil || p.dated(&i.Incident, time.Duration(*st.Dated)))
	}
	var last []seen
	n := 0
	reached := func(all []seen) bool {
		last, n = all, 0
		for _, i := range all {
			if match(i) {
				n++
			}
		}
		switch {
		case st.Count == nil:
			return n > 0
		case *st.Count == 0:
			return n > 0 // which is the failure
		default:
			return n == *st.Count
		}
	}
	ok := p.desk.until(ctx, deadline, reached)
	if st.Count != nil && *st.Count == 0 {
		ok = !ok && ctx.Err() == nil
	}
	if ok {
		return nil
	}
	var there []string
	for _, i := range last {
		if i.Device == *st.Device {
			there = append(there, fmt.Sprintf("%s %s (presses %d, silent %v, drill %v, officer %q, position %v, pressed at %v of %s, corrected: %v)",
				i.Kind, i.State, i.Presses, i.Silent, i.Drill, i.Officer, i.Position, i.PressedAt.Time, i.PressedAt.Source, i.PressedAt.Corrected))
		}
	}
	if len(there) == 0 {
		return unmet("the desk has no incident of %s", *st.Device)
	}
	return unmet("%d match; the desk has of %s: %s", n, *st.Device, strings.Join(there, "; "))
}

// dated reports whether an incident's press is not further than off from one
// that there was.
func (p *player) dated(i *desk.Incident, off time.Duration) bool {
	if i.PressedAt.Time == nil {
		return false
	}
	for _, press := range p.d.Ledger.Entries().Presses {
		at := time.Now().Add(press.At - mono.Now())
		if press.Device == i.Device && i.PressedAt.Time.Sub(at).Abs() <= off {
			return true
		}
	}
	return false
}

const (
	// look is the time between two looks at lamps.
	look = 20 * time.Millisecond
	// doubt is how long after the deadline a pattern may stay ambiguous: a silent
	// alarm shows its blink over 8 s.
	doubt = 9 * time.Second
	// pause is how long the lamps must be dark to be idle: a change of step
	// begins with a dark gap of 80 ms.
	pause = 200 * time.Millisecond
)

func (p *player) expectLamp(ctx context.Context, dev *district.Device, st *scenario.Step, from, deadline time.Duration) error {
	want := lampwatch.Shows(*st.Shows)
	for {
		now := mono.Now()
		spans, doubts := dev.Lamps(from)
		verdict, unsure := false, false
		for _, v := range doubts {
			y, u := shown(lampwatch.Span{View: v}, want, st.Style, from, deadline, now)
			unsure = unsure || y || u
		}
		for _, s := range spans {
			v, u := shown(s, want, st.Style, from, deadline, now)
			verdict, unsure = verdict || v, unsure || u
		}
		switch {
		case verdict:
			return nil
		case now > deadline+pause && !unsure, now > deadline+doubt, !sleepUntil(ctx, now+look):
			return unmet("the lamps of %s showed %s", dev.ID, tell(spans, from))
		}
	}
}

// shown reports whether a span shows what is wanted at a time between from and
// deadline, or whether that is not certain yet.
func shown(s lampwatch.Span, want lampwatch.Shows, style *string, from, deadline, now time.Duration) (yes, unsure bool) {
	over := s.Until != 0
	if s.Since > deadline || over && s.Until <= from || !slices.Contains(s.Shows, want) {
		return false, false
	}
	if style != nil && !slices.Contains(s.Styles, lampwatch.Style(*style)) {
		return false, false
	}
	until := now
	if over {
		until = s.Until
	}
	if want == lampwatch.Idle && until-s.Since < pause {
		return false, !over
	}
	certain := len(s.Shows) == 1 && (style == nil || len(s.Styles) == 1)
	// What is over and could have been it, was it as far as anybody could see.
	return certain || over, !certain
}

func tell(spans []lampwatch.Span, from time.Duration) string {
	var words []string
	for _, s := range spans {
		names := make([]string, len(s.Shows))
		for i, n := range s.Shows {
			names[i] = string(n)
		}
		words = append(words, fmt.Sprintf("%s from %+d ms", strings.Join(names, " or "), (s.Since-from).Milliseconds()))
	}
	if len(words) > 12 {
		words = append([]string{"…"}, words[len(words)-12:]...)
	}
	return strings.Join(words, ", ")
}

func (p *player) expectSiren(ctx context.Context, dev *district.Device, sounds bool, from, deadline time.Duration) error {
	for {
		if at, ok := dev.Siren(sounds, from); ok && at <= deadline {
			return nil
		}
		if now := mono.Now(); now > deadline+look || !sleepUntil(ctx, now+look) {
			return unmet("the siren of %s did not change", dev.ID)
		}
	}
}

// poll calls f until it is true, fails, or the deadline has passed.
func poll(ctx context.Context, deadline, every time.Duration, f func() (bool, error)) (bool, error) {
	for {
		ok, err := f()
		if ok || err != nil && ctx.Err() == nil && !errors.Is(err, desk.ErrAnswer) && !errors.Is(err, desk.ErrAway) {
			return ok, err
		}
		if now := mono.Now(); now >= deadline || !sleepUntil(ctx, min(now+every, deadline)) {
			return false, err
		}
	}
}

func (p *player) expectOfficer(ctx context.Context, st *scenario.Step, from, deadline time.Duration) error {
	kind := map[string]string{"on": "sign_on", "off": "sign_off", "refused": "sign_refused", "came by": "check_in"}[*st.Signed]
	after := ""
	var there []string
	ok, err := poll(ctx, deadline, 50*time.Millisecond, func() (bool, error) {
		page, next, err := p.d.Desk.Events(ctx, *st.Device, after)
		if err != nil {
			return false, err
		}
		after = next
		entries := p.d.Ledger.Entries()
		for _, e := range page {
			if !strings.HasPrefix(e.Type, "sign_") && e.Type != "check_in" {
				continue
			}
			ev, err := entry(*st.Device, e)
			if err != nil {
				return false, err
			}
			if at, known := entries.Captured(&ev); !known || at < from-sameMoment {
				continue
			}
			var b struct{ Officer string }
			if err := json.Unmarshal(e.Body, &b); err != nil {
				return false, fmt.Errorf("play: event %s: %w", e.ID, err)
			}
			there = append(there, e.Type+" "+b.Officer)
			if e.Type == kind && (st.Officer == nil || b.Officer == *st.Officer) {
				return true, nil
			}
		}
		return false, nil
	})
	switch {
	case ok:
		return nil
	case err != nil:
		return err
	case len(there) == 0:
		return unmet("the desk has no sign-on, sign-off or refusal of %s since", *st.Device)
	}
	return unmet("the desk has of %s: %s", *st.Device, strings.Join(there, "; "))
}

// sameMoment is how much earlier than a step an event of its moment may say
// that it was captured.
const sameMoment = 300 * time.Millisecond

// ofKind reports whether an incident is of a kind or, for nil, of one that
// somebody pressed.
func ofKind(i *desk.Incident, kind *string) bool {
	if kind != nil {
		return i.Kind == *kind
	}
	return i.Kind != "offline" && i.Kind != "twin" && i.Kind != "district_link_lost" && i.Kind != "tamper"
}

func (p *player) expectLink(ctx context.Context, st *scenario.Step, deadline time.Duration) error {
	last := ""
	ok, err := poll(ctx, deadline, 200*time.Millisecond, func() (bool, error) {
		devices, err := p.d.Desk.Devices(ctx)
		for _, d := range devices {
			if d.ID == *st.Device {
				last = d.Link.State
			}
		}
		return last == *st.Link, err
	})
	if ok || err != nil {
		return err
	}
	return unmet("the link of %s is %s", *st.Device, last)
}

func (p *player) expectFault(ctx context.Context, st *scenario.Step, deadline time.Duration) error {
	var there []string
	ok, err := poll(ctx, deadline, 200*time.Millisecond, func() (bool, error) {
		devices, err := p.d.Desk.Devices(ctx)
		for _, d := range devices {
			if d.ID == *st.Device {
				there = there[:0]
				for _, f := range d.Faults {
					there = append(there, f.Code)
				}
			}
		}
		return err == nil && slices.Contains(there, *st.Fault) == *st.Active, err
	})
	if ok || err != nil {
		return err
	}
	return unmet("the desk has of %s the faults %v", *st.Device, there)
}

// nearby is how far in metres from a place something may be that is near it.
const nearby = 500

func near(want *scenario.Place, is *desk.Place) bool {
	return is != nil && gps.Distance(gps.Fix{Lat: want.Lat, Lon: want.Lon}, gps.Fix{Lat: is.Lat, Lon: is.Lon}) <= nearby
}

func (p *player) expectPlace(ctx context.Context, st *scenario.Step, deadline time.Duration) error {
	var there *desk.Place
	ok, err := poll(ctx, deadline, 200*time.Millisecond, func() (bool, error) {
		devices, err := p.d.Desk.Devices(ctx)
		for _, d := range devices {
			if d.ID == *st.Device {
				there = d.LastFix
			}
		}
		return err == nil && near(st.Near, there), err
	})
	if ok || err != nil {
		return err
	}
	return unmet("the desk has %s at %v", *st.Device, there)
}

func (p *player) expectTrack(ctx context.Context, st *scenario.Step, deadline time.Duration) error {
	after, n, jumped := "", 0, 0
	ok, err := poll(ctx, deadline, 200*time.Millisecond, func() (bool, error) {
		page, next, err := p.d.Desk.Events(ctx, *st.Device, after)
		if err != nil {
			return false, err
		}
		after = next
		entries := p.d.Ledger.Entries()
		for _, e := range page {
			ev, err := entry(*st.Device, e)
			if err != nil {
				return false, err
			}
			if at, known := entries.Captured(&ev); known && at >= p.zero {
				n += len(ev.Fixes)
				jumped += ev.Jumped
			}
		}
		return n >= *st.Fixes && (st.Jumped == nil || jumped >= *st.Jumped), nil
	})
	if ok || err != nil {
		return err
	}
	return unmet("the desk has %d fixes of %s, %d of them marked as a jump", n, *st.Device, jumped)
}

func (p *player) expectStored(ctx context.Context, from, deadline time.Duration) error {
	a, err := p.account(ctx, from, max(deadline-mono.Now(), 0))
	if err != nil {
		return err
	}
	if a.Complete() {
		return nil
	}
	return unmet("captured %d, stored %d, waiting %d, lost %d, duplicated %d: %s",
		a.Captured, a.Stored, a.Waiting, a.Lost, a.Duplicated, strings.Join(a.Findings, "; "))
}

// reconcile compares the ledger with the desk now.
func (p *player) reconcile(ctx context.Context, until time.Duration) (ledger.Account, error) {
	events, err := p.events(ctx) // first: what is injected meanwhile is no surprise
	if err != nil {
		return ledger.Account{}, err
	}
	return ledger.Reconcile(p.d.Ledger.Entries(), events, ledger.Judge{
		Until: until,
		Track: func(id string) ledger.Policy {
			t := p.s.Devices[id].Track
			pol := ledger.Policy{Batch: 60, Still: 30 * time.Second} // the firmware's defaults
			if t.Batch > 0 {
				pol.Batch = t.Batch
			}
			if t.StillEvery > 0 {
				pol.Still = time.Duration(t.StillEvery)
			}
			return pol
		},
		Reachable: func(id string) bool {
			dev, err := p.d.Device(id)
			return err == nil && dev.Reachable() && p.d.Centre.Running()
		},
	}), nil
}
