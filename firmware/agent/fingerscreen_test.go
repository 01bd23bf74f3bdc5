package agent_test

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/terminal"
)

// A panel is the screen's page at a device, without a network.
type panel struct {
	w      *world
	screen *terminal.Terminal
}

func (p panel) ask(method, path, body string) (int, string) {
	r := httptest.NewRequestWithContext(p.w.t.Context(), method, "http://127.0.0.1"+path, strings.NewReader(body))
	r.AddCookie(&http.Cookie{Name: "fengsui_terminal", Value: strings.Repeat("0", 32)})
	a := httptest.NewRecorder()
	p.screen.ServeHTTP(a, r)
	return a.Code, a.Body.String()
}

// fingers is what the page is told of them.
func (p panel) fingers() (v struct {
	By, Step string
	List     []struct {
		Slot          int
		Officer, Role string
		Duress        bool
	}
},
) {
	_, body := p.ask("GET", "/api/state", "")
	whole := struct{ Fingers any }{&v}
	if err := json.Unmarshal([]byte(body), &whole); err != nil {
		p.w.t.Fatalf("%v: %s", err, body)
	}
	return v
}

// do has something done at the screen by people who look at it and do what it
// says, and returns the answer and the steps that it showed.
func (p panel) do(path, body string, hand func(fingerprint.Progress)) (code int, answer string, steps []string) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		code, answer = p.ask("POST", path, body)
	}()
	byName := make(map[string]fingerprint.Step)
	for s := fingerprint.StepAuthorise; s <= fingerprint.StepStored; s++ {
		byName[s.String()] = s
	}
	for last := ""; ; time.Sleep(100 * time.Millisecond) {
		select {
		case <-done:
			return code, answer, steps
		default:
		}
		if s := p.fingers().Step; s != last {
			last = s
			if s != "" {
				steps = append(steps, s)
				hand(fingerprint.Progress{Step: byName[s]})
			}
		}
	}
}

// A device without a shell: the technician's key lets the first technician be
// enrolled at the screen, and the technician's finger everybody else.
func TestEnrolAtTheScreen(t *testing.T) {
	atReader(t, fingerprinttest.Options{}, nil, withReader, func(w *world) {
		t := w.t
		screen, err := terminal.New(terminal.Options{Device: w.a.Screen(), Fingers: w.a.Fingers(), Token: strings.Repeat("0", 32)})
		if err != nil {
			t.Fatal(err)
		}
		p := panel{w, screen}
		if code, body := p.ask("POST", "/api/fingers/open", "{}"); code != 403 || !strings.Contains(body, "nobody_may") {
			t.Errorf("the key is not turned: %d %s", code, body)
		}
		w.set("K", gpio.Low)
		time.Sleep(time.Second)
		if code, body := p.ask("POST", "/api/fingers/open", "{}"); code != 200 {
			t.Fatalf("the key is turned: %d %s", code, body)
		}
		if v := p.fingers(); v.By != fingers.ByTestKey || v.List == nil || len(v.List) != 0 {
			t.Errorf("by the key: %+v", v)
		}
		code, body, steps := p.do("/api/fingers/enrol", `{"officer":"P-0007","role":"technician"}`, w.hand(0, 40))
		if code != 200 || body != "{\"slot\":1}\n" || !slices.Equal(steps, []string{"place", "lift", "again"}) && !slices.Equal(steps, []string{"place", "lift", "again", "stored"}) {
			t.Fatalf("%d %s %q", code, body, steps)
		}
		w.sensor.Lift()
		time.Sleep(time.Second)
		if v := p.fingers(); v.By != "" || v.List != nil {
			t.Errorf("a technician is enrolled, and the key still shows %+v", v)
		}
		code, body, steps = p.do("/api/fingers/open", "{}", w.hand(40, 0))
		if code != 200 || !slices.Equal(steps, []string{"authorise"}) {
			t.Fatalf("%d %s %q", code, body, steps)
		}
		code, body, _ = p.do("/api/fingers/enrol", `{"officer":"P-1001","role":"officer","duress":true}`, w.hand(0, 50))
		if v := p.fingers(); code != 200 || v.By != "P-0007" || len(v.List) != 2 || v.List[1].Officer != "P-1001" || !v.List[1].Duress {
			t.Errorf("%d %s: %+v", code, body, v)
		}
		w.sensor.Lift()
		time.Sleep(time.Second)
		// The same finger again, and another in the middle.
		if code, body, _ = p.do("/api/fingers/enrol", `{"officer":"P-1002","role":"officer"}`, w.hand(0, 50)); code != 409 || !strings.Contains(body, `"enrolled"`) {
			t.Errorf("a finger twice: %d %s", code, body)
		}
		w.sensor.Lift()
		time.Sleep(time.Second)
		if code, _ := p.ask("POST", "/api/fingers/close", "{}"); code != 200 || p.fingers().List != nil {
			t.Error("closed, the list still shows")
		}
		if code, _, steps = p.do("/api/fingers/2/delete", "{}", w.hand(40, 0)); code != 200 || !slices.Equal(steps, []string{"authorise"}) {
			t.Errorf("delete: %d, steps %q: want that leave is asked for", code, steps)
		}
		w.sensor.Lift()
		w.wantDuty("enrolled 1 P-0007 technician by test_key", "enrolled 2 P-1001 officer by P-0007 duress", "deleted 2 P-1001 officer by P-0007 duress")
	})
}

func TestAdoptAReplacedSensor(t *testing.T) {
	atReader(t, fingerprinttest.Options{}, map[int]fingers.Finger{1: technician}, withReader, func(w *world) {
		t, f := w.t, w.a.Fingers()
		if err := f.Adopt(t.Context()); !errors.Is(err, fingers.ErrNotReplaced) {
			t.Errorf("its own sensor: %v, want ErrNotReplaced", err)
		}
		w.sensor.SetPassword(0) // another one, fresh from its box
		w.sensor.Plug(false)
		time.Sleep(time.Second)
		w.sensor.Plug(true)
		time.Sleep(time.Minute)
		if err := f.Authorise(t.Context(), nil); !errors.Is(err, fingerprint.ErrNotReady) {
			t.Errorf("leave at another sensor: %v, want ErrNotReady", err)
		}
		if err := f.Adopt(t.Context()); !errors.Is(err, fingers.ErrKeyNotTurned) {
			t.Errorf("without the key: %v, want ErrKeyNotTurned", err)
		}
		if w.sensor.Password() != 0 {
			t.Error("another sensor was given our password")
		}
		w.set("K", gpio.Low)
		time.Sleep(time.Second)
		if err := f.Adopt(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if got := w.faults("fingerprint_replaced"); !slices.Equal(got, []string{"fingerprint_replaced true", "fingerprint_replaced false"}) || w.sensor.Password() == 0 {
			t.Errorf("faults %q, password %d", got, w.sensor.Password())
		}
		if slot, err := f.Enrol(t.Context(), fingers.Request{Slot: 3, Officer: "P-0008", Role: fingers.Technician}, w.hand(0, 41)); err != nil || slot != 3 {
			t.Errorf("slot %d, %v", slot, err)
		}
		w.sensor.Lift()
		w.wantDuty("enrolled 1 P-0007 technician by local", "deleted 1 P-0007 technician by test_key", "enrolled 3 P-0008 technician by test_key")
	})
}
