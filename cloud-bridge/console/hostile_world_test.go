package console_test

import (
	"crypto/ed25519"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/cloud-bridge/units"
	"github.com/fengsui/fengsui/firmware/wire"
)

// seedHostile puts every hostile string where a device or a person can and it is taken. There
// is a device with an incident for each three of them; of the many texts that these have each
// takes another string, so that each string stands in many places of each page.
func seedHostile(w *world) error {
	var names, free []string // what is taken as a name, and as a device's or a note's text
	for _, text := range hostileStrings(w.t) {
		if utf8.ValidString(text) && len(text) <= incident.MaxNote {
			free = append(free, text)
			r := store.Registration{ID: "x", Kind: store.AlarmBox, Name: text, Key: key.Public().(ed25519.PublicKey)}
			if r.Validate() == nil && strings.TrimSpace(text) != "" {
				names = append(names, text)
			}
		}
	}
	ctx, by := w.t.Context(), incident.Actor{Name: names[0], Screen: incident.ScreenDesk}
	if _, err := w.db.LoadGrid(ctx, by, []byte(gridOf(names...))); err != nil {
		return err
	}
	count := w.devicesOf(names, free)
	for n := range count {
		id, text, by := int64(n+1), free[3*n%len(free)], incident.Actor{Name: names[(3*n+1)%len(names)], Screen: incident.ScreenDesk, Where: free[(3*n+2)%len(free)]}
		for _, step := range []incident.Step{
			{Name: incident.StepAcknowledge},
			{Name: incident.StepNote, Note: text},
			{Name: incident.StepDispatch, Unit: names[(3*n+2)%len(names)]},
			{Name: incident.StepSuspend, Note: text},
		} {
			if n%10 == 9 && step.Name != incident.StepNote || step.Note != "" && strings.TrimSpace(text) == "" {
				continue // some stay open
			}
			if step.Name == incident.StepSuspend && n%3 > 0 {
				step = incident.Step{Name: incident.StepClose, Code: incident.Test, Note: text}
				if n%3 == 1 {
					continue
				}
			}
			if _, err := w.db.Take(ctx, id, by, step); err != nil {
				return fmt.Errorf("%s %q: %w", step.Name, text, err)
			}
		}
	}
	var people, rounds, shifts []string
	for n, text := range names {
		if strings.ContainsAny(text, "\ufffe\uffff") {
			continue // no character of YAML
		}
		people = append(people, fmt.Sprintf(`{"id":"P-%d","kind":"officer","name":%s}`, n+1, quote(text)))
		shifts = append(shifts, fmt.Sprintf(`{"who":"P-%d","unit":%s,"from":"00:00","to":"00:00"}`, n+1, quote(text)))
		if n%4 == 0 {
			rounds = append(rounds, round(n, text))
		}
		if n%4 == 0 && n+2 < count {
			g := store.Group{ID: fmt.Sprintf("g-%d", n), Name: text, Sounds: time.Minute, Devices: []string{fmt.Sprintf("h-%d", n), fmt.Sprintf("h-%d", n+2)}}
			if err := w.db.PutGroup(ctx, by, g); err != nil {
				return err
			}
		}
		if n%8 == 0 { // one that can stand as an account's name
			if name, err := account.ParseName(text); err == nil {
				_, _, _ = w.accounts.Create(ctx, account.Actor{Name: name, Screen: text}, name, account.Viewer, account.Scope{account.Everywhere}, account.Opening{TokenOnly: true})
			}
		}
	}
	plan := strings.TrimSuffix(planOf(people, rounds), "}") + `,"shifts":[` + strings.Join(shifts, ",") + `]}`
	if _, err := w.db.LoadRoster(ctx, by, []byte(plan)); err != nil {
		return err
	}
	return w.db.SetDrill(ctx, by, []string{"h-0", "h-2"}, true, time.Now().Add(time.Hour))
}

// devicesOf registers devices of these names, every second one a car, and lets each of them
// raise an alarm and say what has a text. It returns how many.
func (w *world) devicesOf(names, texts []string) (count int) {
	var register []store.Registration
	var batch store.Batch
	f := &fleet{w: w, lanes: make(map[string]*lane)}
	count = (len(texts) + 2) / 3
	for n := range count {
		next := 3 * n
		text := func(most int) string {
			next++
			return cut(texts[next%len(texts)], most)
		}
		r := store.Registration{ID: fmt.Sprintf("h-%d", n), Kind: store.AlarmBox, Name: names[3*n%len(names)], Key: key.Public().(ed25519.PublicKey)}
		r.At = &store.Point{Lat: 0.2 + float64(n%7)*0.1, Lon: float64(2*n)*0.01 + 0.005}
		if n%2 == 1 {
			r.Kind, r.At = store.PatrolCar, nil
		}
		register = append(register, r)
		for _, body := range []wire.Body{
			wire.NewHealth(time.Hour, text(64), nil),
			&wire.Fault{Code: text(64), Active: true, Detail: text(512)},
			&wire.Fault{Code: "button_stuck:" + text(48), Active: true},
			&wire.SignRefused{Reason: text(64)},
			&wire.Commissioned{Verdict: wire.CommissionFail, Failed: 1, Problems: []string{text(64)}, By: text(64), Firmware: text(64)},
			&wire.StreamStarted{Previous: wire.StreamID{8}, Why: wire.StartRolledBack, Detail: text(512)},
			&wire.SignOn{Officer: text(64), Slot: 1, Score: 1},
			&wire.CheckIn{By: wire.CheckInButton, Button: text(32)},
		} {
			batch.Arrivals = append(batch.Arrivals, f.event(r.ID, wire.Duty, body))
		}
		batch.Arrivals = append(batch.Arrivals, f.event(r.ID, wire.Alarm, &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Panic, Button: text(32), Press: 1}))
		if n%2 == 1 {
			batch.Arrivals = append(batch.Arrivals, f.event(r.ID, wire.Track, &wire.TrackBatch{Fixes: []wire.TrackFix{{Time: time.Now().UnixMilli(), LatE6: 300_000, LonE6: int64(n) * 10_000, HDOP: 9, Flags: wire.Fix3D | wire.HasHDOP}}}))
		}
		batch.Refusals = append(batch.Refusals, store.Refusal{At: time.Now(), Topic: text(200), Reason: text(40), Detail: text(200), Size: 1})
	}
	if err := w.db.Register(w.t.Context(), register...); err != nil {
		w.t.Error(err)
		return count
	}
	f.commit(batch)
	for n, r := range register {
		if r.Kind == store.PatrolCar {
			if err := w.db.SetUnit(w.t.Context(), incident.Actor{Name: "Li"}, r.ID, units.Busy, texts[(3*n+1)%len(texts)]); err != nil {
				w.t.Error(err)
			}
		}
	}
	return count
}

// cut is the beginning of a text, of at most so many bytes.
func cut(text string, most int) string {
	for len(text) > most || !utf8.ValidString(text) {
		text = text[:min(most, len(text)-1)]
	}
	if strings.TrimFunc(text, unicode.IsSpace) == "" {
		return "x" + text
	}
	return text
}
