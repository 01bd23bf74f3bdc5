package incident_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

var at = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)

func opened() *incident.Incident {
	i := &incident.Incident{ID: 17, Device: "box-01", Kind: incident.KindOf(wire.Panic)}
	i.Opened(at)
	return i
}

func TestFields(t *testing.T) {
	long := strings.Repeat("长", 30) // 90 bytes
	for _, c := range []struct {
		name  string
		step  func(*incident.Incident) error
		field string
	}{
		{"nobody", func(i *incident.Incident) error { return i.Acknowledge("", at) }, "by"},
		{"blank", func(i *incident.Incident) error { return i.Acknowledge("  ", at) }, "by"},
		{"long", func(i *incident.Incident) error { return i.Acknowledge(long, at) }, "by"},
		{"not UTF-8", func(i *incident.Incident) error { return i.Acknowledge("\xff", at) }, "by"},
		{"code", func(i *incident.Incident) error { return i.Close("li", "fun", "", at) }, "code"},
		{"no code", func(i *incident.Incident) error { return i.Close("li", "", "", at) }, "code"},
		{"note", func(i *incident.Incident) error {
			return i.Close("li", incident.Real, strings.Repeat("x", incident.MaxNote+1), at)
		}, "note"},
		{"unit", func(i *incident.Incident) error {
			if err := i.Acknowledge("li", at); err != nil {
				return err
			}
			return i.Dispatch("li", "", at)
		}, "unit"},
	} {
		err := c.step(opened())
		var fe *incident.FieldError
		if !errors.Is(err, incident.ErrField) || !errors.As(err, &fe) || fe.Field != c.field {
			t.Errorf("%s: %v: want a FieldError of %s", c.name, err, c.field)
		}
	}
}

func TestPriority(t *testing.T) {
	for kind, want := range map[wire.AlarmKind]int{wire.Panic: 1, wire.Duress: 1, wire.Medical: 2, wire.Fire: 2, 9: 1} {
		if got := incident.KindOf(kind).Priority(); got != want {
			t.Errorf("priority of %v: %d, want %d", kind, got, want)
		}
	}
	if got := incident.Tamper.Priority(); got != 2 || incident.Tamper.Pressed() {
		t.Errorf("tamper: priority %d, pressed %v; want 2, that nobody has pressed", got, incident.Tamper.Pressed())
	}
}

func TestWhatTheDeviceReports(t *testing.T) {
	i := opened()
	i.Press(3, at)
	i.Press(2, at)
	if i.Presses != 3 || i.Rev != 1 {
		t.Errorf("presses %d, rev %d: want 3, 1", i.Presses, i.Rev)
	}
	i.Show(3, incident.Dispatched, at)
	i.Show(2, incident.Acknowledged, at)
	if i.Shown.Rev != 3 || i.Shown.State != incident.Dispatched {
		t.Errorf("an older receipt replaced the newer: %+v", i.Shown)
	}
	i.Clear("P-1001", at)
	if i.Cleared == nil || i.State != incident.Open {
		t.Errorf("cleared %+v, state %s: want it noted and still open", i.Cleared, i.State)
	}
}
