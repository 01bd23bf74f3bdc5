package terminal_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/terminal"
)

// reader is a reader that remembers what it was told. What it does takes until
// something comes from step.
type reader struct {
	mu      sync.Mutex
	allowed string
	list    fingers.Listing
	asked   []fingers.Request
	deleted []int
	adopted int
	left    int
	err     error
	step    chan error // nil: at once
}

func (r *reader) tell(f func()) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	f()
	return nil
}

func (r *reader) wait(ctx context.Context, progress func(fingerprint.Progress), s fingerprint.Step) error {
	progress(fingerprint.Progress{Step: s})
	if r.step == nil {
		return nil
	}
	select {
	case err := <-r.step:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *reader) Authorise(ctx context.Context, progress func(fingerprint.Progress)) error {
	if err := r.wait(ctx, progress, fingerprint.StepAuthorise); err != nil {
		return err
	}
	return r.tell(func() { r.allowed = "P-0007" })
}

func (r *reader) Allowed(context.Context) (string, time.Duration, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.allowed, 90 * time.Second, nil
}

func (r *reader) Leave(context.Context) error {
	return r.tell(func() { r.allowed, r.left = "", r.left+1 })
}

func (r *reader) List(context.Context) (fingers.Listing, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list, nil
}

func (r *reader) Enrol(ctx context.Context, q fingers.Request, progress func(fingerprint.Progress)) (int, error) {
	if err := r.wait(ctx, progress, fingerprint.StepPlace); err != nil {
		return 0, err
	}
	return 12, r.tell(func() { r.asked = append(r.asked, q) })
}

func (r *reader) Delete(_ context.Context, slot int, _ func(fingerprint.Progress)) error {
	return r.tell(func() { r.deleted = append(r.deleted, slot) })
}

func (r *reader) Adopt(context.Context) error { return r.tell(func() { r.adopted++ }) }

func aReader() *reader {
	return &reader{list: fingers.Listing{
		Library: 200, Nobodys: []int{5}, Empty: []int{9},
		Fingers: map[int]fingers.Finger{
			1: {Officer: "P-0007", Role: fingers.Technician, By: fingers.ByTestKey},
			2: {Officer: "P-1001", Role: fingers.Officer, By: "P-0007", Duress: true},
			9: {Officer: "P-1003", Role: fingers.Supervisor, By: fingers.ByConfig},
		},
	}}
}

func TestFingersShowOnlyByLeave(t *testing.T) {
	r := aReader()
	d := busy()
	d.view.Officer, d.view.Tasks = "", nil
	s, c := serveWith(t, terminal.Options{Device: d, Fingers: r})
	state := func() string {
		t.Helper()
		_, body := send(t, c, "GET", s.URL+"/api/state", "")
		return body
	}
	hides := func(when string) {
		t.Helper()
		for _, personal := range []string{"P-0007", "P-1001", "P-1003", `"duress"`} {
			if strings.Contains(state(), personal) {
				t.Errorf("%s the page is told %s", when, personal)
			}
		}
	}
	hides("before anybody opened it")
	r.allowed = "P-0007"
	hides("while somebody allows changes, and nobody opened the list,")
	if got := status(t, c, "POST", s.URL+"/api/fingers/open", "{}"); got != 200 {
		t.Fatalf("open: %d", got)
	}
	want := `"fingers":{"by":"P-0007","left_s":90,"step":"","library":200,"list":[` +
		`{"slot":1,"officer":"P-0007","role":"technician","duress":false,"config":false,"empty":false},` +
		`{"slot":2,"officer":"P-1001","role":"officer","duress":true,"config":false,"empty":false},` +
		`{"slot":5,"officer":"","role":"","duress":false,"config":false,"empty":false},` +
		`{"slot":9,"officer":"P-1003","role":"supervisor","duress":false,"config":true,"empty":true}]}`
	if got := state(); !strings.Contains(got, want) {
		t.Errorf("open: %s\nwant %s", got, want)
	}
	r.mu.Lock()
	r.allowed = ""
	r.mu.Unlock()
	hides("after its time")
	if status(t, c, "POST", s.URL+"/api/fingers/open", "{}"); !strings.Contains(state(), want) {
		t.Error("it does not open again")
	}
	if got := status(t, c, "POST", s.URL+"/api/fingers/close", "{}"); got != 200 || r.left != 1 {
		t.Errorf("close: %d, left %d times", got, r.left)
	}
	hides("closed,")

	// The screen that is switched off takes the leave with it.
	ctx, stop := context.WithCancel(t.Context())
	q, err := http.NewRequestWithContext(ctx, "GET", s.URL+"/api/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := c.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Body.Close()
	if _, err := bufio.NewReader(a.Body).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	status(t, c, "POST", s.URL+"/api/fingers/open", "{}")
	stop()
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		r.mu.Lock()
		left := r.left
		r.mu.Unlock()
		if left == 2 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the screen has gone, and changes are still allowed")
		}
	}
	hides("with no screen,")
}

func TestFingerChanges(t *testing.T) {
	r := aReader()
	s, c := serveWith(t, terminal.Options{Device: busy(), Fingers: r})
	for _, x := range []struct {
		path, body string
		err        error
		want       int
		says       string
	}{
		{"enrol", `{"officer":" P-1002 ","role":"officer","duress":true}`, nil, 200, `{"slot":12}`},
		{"enrol", `{"officer":"P-1002","role":"chief"}`, nil, 422, `"field":"role"`},
		{"enrol", `{"officer":" ","role":"officer"}`, nil, 422, `"field":"officer"`},
		{"enrol", `{"officer":"` + strings.Repeat("x", 65) + `","role":"officer"}`, nil, 422, `"field":"officer"`},
		{"enrol", `{"officer":"P-1002","role":"officer","template":"AA=="}`, nil, 422, `"field":"body"`},
		{"enrol", `{"officer":"P-1002","role":"officer"}`, fingers.ErrNotAuthorised, 403, `"code":"not_authorised"`},
		{"enrol", `{"officer":"P-1002","role":"officer"}`, fmt.Errorf("slot 3: %w", fingerprint.ErrEnrolled), 409, `"code":"enrolled"`},
		{"enrol", `{"officer":"P-1002","role":"officer"}`, &fingerprint.Error{Op: fingerprint.OpRegModel, Err: fingerprint.ErrCombine}, 409, `"code":"mismatch"`},
		{"9/delete", `{}`, nil, 200, `{}`},
		{"x/delete", `{}`, nil, 422, `"field":"slot"`},
		{"-1/delete", `{}`, nil, 422, `"field":"slot"`},
		{"9/delete", `{}`, fingers.ErrConfigured, 409, `"code":"configured"`},
		{"adopt", `{}`, nil, 200, `{}`},
		{"adopt", `{}`, fingers.ErrKeyNotTurned, 403, `"code":"key_not_turned"`},
		{"open", `{}`, fingers.ErrNobodyMay, 403, `"code":"nobody_may"`},
		{"open", `{}`, fingerprint.ErrNotReady, 503, `"code":"no_reader"`},
	} {
		r.mu.Lock()
		r.err = x.err
		r.mu.Unlock()
		a, body := send(t, c, "POST", s.URL+"/api/fingers/"+x.path, x.body)
		if a.StatusCode != x.want || !strings.Contains(body, x.says) {
			t.Errorf("%s %s (%v): %d %s: want %d, %s", x.path, x.body, x.err, a.StatusCode, body, x.want, x.says)
		}
	}
	want := fingers.Request{Slot: fingers.AnySlot, Officer: "P-1002", Role: fingers.Officer, Duress: true}
	if len(r.asked) != 1 || r.asked[0] != want || len(r.deleted) != 1 || r.deleted[0] != 9 || r.adopted != 1 {
		t.Errorf("asked %+v, deleted %v, adopted %d", r.asked, r.deleted, r.adopted)
	}
	if got := status(t, new(http.Client), "POST", s.URL+"/api/fingers/open", "{}"); got != 401 {
		t.Errorf("a stranger: %d: want 401", got)
	}
	bare, c := serve(t, busy())
	if a, body := send(t, c, "POST", bare.URL+"/api/fingers/open", "{}"); a.StatusCode != 503 || !strings.Contains(body, "no_reader") {
		t.Errorf("without a reader: %d %s", a.StatusCode, body)
	}
	if _, body := send(t, c, "GET", bare.URL+"/api/state", ""); !strings.Contains(body, `"fingers":null`) {
		t.Error("without a reader the page is told of fingers")
	}
}

// What the reader asks for shows meanwhile, and a page that goes ends it.
func TestEnrolmentSteps(t *testing.T) {
	r := aReader()
	r.step = make(chan error)
	s, c := serveWith(t, terminal.Options{Device: busy(), Fingers: r})
	step := func(want string) {
		t.Helper()
		var got struct{ Fingers struct{ Step string } }
		for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			_, body := send(t, c, "GET", s.URL+"/api/state", "")
			if err := json.Unmarshal([]byte(body), &got); err != nil {
				t.Fatal(err)
			}
			if got.Fingers.Step == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("step %q: want %q", got.Fingers.Step, want)
			}
		}
	}
	answered := make(chan int, 1)
	go func() { answered <- status(t, c, "POST", s.URL+"/api/fingers/open", "{}") }()
	step("authorise")
	r.step <- nil
	if got := <-answered; got != 200 {
		t.Errorf("open: %d", got)
	}
	step("")
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		q, err := http.NewRequestWithContext(ctx, "POST", s.URL+"/api/fingers/enrol", strings.NewReader(`{"officer":"P-1002","role":"officer"}`))
		if err == nil {
			var a *http.Response
			if a, err = c.Do(q); err == nil {
				err = a.Body.Close()
			}
		}
		gone <- err
	}()
	step("place")
	leave()
	if err := <-gone; err == nil {
		t.Error("the enrolment ended by itself")
	}
	step("")
	if len(r.asked) != 0 {
		t.Errorf("enrolled %+v", r.asked)
	}
}
