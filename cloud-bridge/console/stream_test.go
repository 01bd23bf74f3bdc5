package console_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// served puts the desk behind a real server and returns its URL.
func (w *world) served() string {
	w.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	server := w.desk.Server()
	server.Handler = w.through(w.desk)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	w.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			w.t.Errorf("shut down with streams open: %v", err)
		}
		<-done
	})
	return "http://" + listener.Addr().String()
}

type event struct {
	name string
	data string
}

// follow opens the stream and returns what comes; the channel is closed at its end.
func follow(t *testing.T, url string) <-chan event {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", url+"/api/v1/stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { answer.Body.Close() })
	if answer.StatusCode != 200 || answer.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%s %s", answer.Status, answer.Header.Get("Content-Type"))
	}
	events := make(chan event, 100)
	go func() {
		defer close(events)
		var e event
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			switch name, value, _ := strings.Cut(lines.Text(), ": "); name {
			case "event":
				e.name = value
			case "data":
				e.data = value
			case "":
				events <- e
				e = event{}
			}
		}
	}()
	return events
}

// next returns the next event of that name, and fails when the stream ends before.
func next(t *testing.T, events <-chan event, name string, out any) {
	t.Helper()
	for e := range events {
		if e.name != name {
			continue
		}
		if err := json.Unmarshal([]byte(e.data), out); err != nil {
			t.Fatalf("%s: %v in %s", name, err, e.data)
		}
		return
	}
	t.Fatalf("the stream ended without %s", name)
}

func TestStream(t *testing.T) {
	w := newWorld(t, nil)
	events := follow(t, w.served())
	if first := <-events; first.name != "hello" || !strings.Contains(first.data, `"version":"test"`) {
		t.Fatalf("first %+v: want hello", first)
	}
	alarm := w.press("box-01", wire.Panic, time.Second)
	var i console.Incident
	next(t, events, "incident", &i)
	if i.State != "open" || i.Alarm != alarm.String() || i.Timeline != nil {
		t.Errorf("streamed %+v", i)
	}
	var d console.Device
	w.fix("car-02", 0, 30.1, 103.1, 0)
	for d.ID != "car-02" {
		next(t, events, "device", &d)
	}
	if d.LastFix == nil || d.LastFix.Lat != 30.1 {
		t.Errorf("streamed %+v", d)
	}
	w.want(200, "POST", "/api/v1/incidents/1/acknowledge", `{"by":"Li"}`, nil)
	next(t, events, "incident", &i)
	if i.State != "acknowledged" || i.Rev != 2 {
		t.Errorf("streamed %+v", i)
	}
	if _, err := w.db.Commit(t.Context(), store.Batch{Refusals: []store.Refusal{{At: time.Now(), Topic: "x", Reason: "bad signature", Size: 9}}}); err != nil {
		t.Fatal(err)
	}
	var refused console.Refused
	next(t, events, "refused", &refused)
	if refused.Total != 1 {
		t.Errorf("streamed %+v", refused)
	}
}

// Every change made after hello is told, however many come at once.
func TestStreamUnderLoad(t *testing.T) {
	w := newWorld(t, nil)
	events := follow(t, w.served())
	<-events
	const n = 300
	go func() {
		for range n {
			w.press("box-01", wire.Panic, 0)
		}
	}()
	seen := make(map[string]bool)
	for len(seen) < n {
		var i console.Incident
		next(t, events, "incident", &i)
		seen[i.ID] = true
	}
}

// A reader that the store cut off is let go, so that it comes back and fetches anew.
func TestStreamEndsWhenBehind(t *testing.T) {
	w := newWorld(t, nil)
	slow := &slowChanges{Store: w.db, watcher: w.db.Watch(1)}
	desk, err := console.New(console.Options{Store: slow, Accounts: w.accounts})
	if err != nil {
		t.Fatal(err)
	}
	w.press("box-01", wire.Panic, 0)
	w.press("box-02", wire.Panic, 0) // The watcher is a change behind already.
	recorder := httptest.NewRecorder()
	w.through(desk).ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), "GET", "/api/v1/stream", nil))
	if body := recorder.Body.String(); !strings.HasPrefix(body, "event: hello\n") {
		t.Errorf("answer %q", body)
	}
}

type slowChanges struct {
	console.Store
	watcher *store.Watcher
}

func (s *slowChanges) Watch(int) *store.Watcher { return s.watcher }

// The stream lives on beyond the limits that the server sets for other requests, and
// beats when nothing happens.
func TestStreamOutlivesServerLimits(t *testing.T) {
	w := newWorld(t, nil)
	synctest.Test(t, func(t *testing.T) {
		desk, err := console.New(console.Options{Store: w.db, Accounts: w.accounts})
		if err != nil {
			t.Fatal(err)
		}
		server, listener := desk.Server(), make(pipeListener)
		server.Handler = w.through(desk)
		done := make(chan error, 1)
		go func() { done <- server.Serve(listener) }()
		client, inside := net.Pipe()
		listener <- inside
		if _, err := io.WriteString(client, "GET /api/v1/stream HTTP/1.1\r\nHost: desk\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		began, beats := time.Now(), 0
		for lines := bufio.NewScanner(client); beats < 20 && lines.Scan(); {
			if lines.Text() == "event: beat" {
				beats++
			}
		}
		if lived := time.Since(began); beats != 20 || lived < 99*time.Second || lived > 101*time.Second {
			t.Errorf("%d beats in %v: want 20 in 100 s", beats, lived)
		}
		if err := errors.Join(desk.Close(), client.Close(), server.Close()); err != nil {
			t.Error(err)
		}
		<-done
	})
}

// pipeListener accepts the connections that are sent to it.
type pipeListener chan net.Conn

func (l pipeListener) Accept() (net.Conn, error) {
	conn, open := <-l
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l pipeListener) Close() error {
	close(l)
	return nil
}

func (pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "unix"} }

func TestCloseEndsStreams(t *testing.T) {
	w := newWorld(t, nil)
	events := follow(t, w.served())
	<-events
	if err := w.desk.Close(); err != nil {
		t.Fatal(err)
	}
	for range events {
	}
	if err := w.desk.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// Nobody waits for a reader that takes nothing.
func TestStreamReaderThatStops(t *testing.T) {
	w := newWorld(t, nil)
	url := w.served()
	stuck, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	if err := stuck.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(stuck, "GET /api/v1/stream HTTP/1.1\r\nHost: desk\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	events := follow(t, url)
	<-events
	for range 50 {
		w.health("box-01", nil)
	}
	w.press("box-01", wire.Panic, 0)
	var i console.Incident
	next(t, events, "incident", &i)
}

// The desk is told that nothing can be stored, when it comes and while it is there; steps
// are refused with the cause, and what is stored again is told too.
func TestStorageTrouble(t *testing.T) {
	w := newWorld(t, nil)
	w.press("box-01", wire.Panic, 0)
	storage := func(events <-chan event, want string) {
		t.Helper()
		for e := range events {
			if e.name == "storage" {
				if !strings.Contains(e.data, want) {
					t.Errorf("storage %s: want %s", e.data, want)
				}
				return
			}
		}
		t.Fatal("the stream ended")
	}
	url := w.served()
	early := follow(t, url)
	storage(early, `"ok":true,"cause":"","since":null`)
	unlock := w.lock()
	var p console.Problem
	w.want(503, "POST", "/api/v1/incidents/1/acknowledge", `{"by":"Li"}`, &p)
	if p.Type != "urn:fengsui:problem:storage" || p.Cause != "locked" {
		t.Errorf("acknowledge: %+v", p)
	}
	w.want(503, "GET", "/readyz", "", &p)
	if p.Cause != "locked" || !strings.Contains(p.Detail, "another process has locked the database") {
		t.Errorf("readyz: %+v", p)
	}
	storage(early, `"ok":false,"cause":"locked"`)
	storage(follow(t, url), `"ok":false,"cause":"locked"`)
	unlock()
	w.want(200, "POST", "/api/v1/incidents/1/acknowledge", `{"by":"Li"}`, nil)
	w.want(200, "GET", "/readyz", "", nil)
	storage(early, `"ok":true`)
}
