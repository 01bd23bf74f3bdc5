package console_test

import (
	"crypto/ed25519"
	"database/sql"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

var key = ed25519.NewKeyFromSeed([]byte("an ed25519 seed of thirty-two by"))

// world is a district around a desk: a real store, and devices whose events go into it.
type world struct {
	t    testing.TB
	desk *console.Console
	db   *store.Store
	file string // of db

	accounts *account.Service
	tokens   map[string]account.Secret // by the name of an account

	booted time.Time // when its devices were started

	mu    sync.Mutex
	lanes map[string]*lane // by device and lane
}

type lane struct {
	stream wire.StreamID
	seq    uint64
	prev   wire.Hash
}

// places are the registered devices of a world.
var places = []struct {
	id   string
	kind store.DeviceKind
	name string
	at   *store.Point
}{
	{"box-01", store.AlarmBox, "青石桥村口", &store.Point{Lat: 30.10210, Lon: 103.12040}},
	{"box-02", store.AlarmBox, "青石桥小学", &store.Point{Lat: 30.10630, Lon: 103.12610}},
	{"box-03", store.AlarmBox, "柳树湾码头", &store.Point{Lat: 30.09480, Lon: 103.13220}},
	{"box-04", store.AlarmBox, "石板滩卫生站", &store.Point{Lat: 30.11150, Lon: 103.11230}},
	{"box-05", store.AlarmBox, "Upper Well Lane", &store.Point{Lat: 30.09890, Lon: 103.10550}},
	{"box-06", store.AlarmBox, "高坎粮库", &store.Point{Lat: 30.11710, Lon: 103.13120}},
	{"car-01", store.PatrolCar, "巡逻一号", nil},
	{"car-02", store.PatrolCar, "巡逻二号", nil},
	{"car-03", store.PatrolCar, "Patrol 3", nil},
}

func newWorld(t testing.TB, change func(*console.Options)) *world {
	t.Helper()
	file := filepath.Join(t.TempDir(), "centre.db")
	db, err := store.Open(t.Context(), file, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range places {
		err := db.Register(t.Context(), store.Registration{ID: p.id, Kind: p.kind, Name: p.name, At: p.at, Key: key.Public().(ed25519.PublicKey)})
		if err != nil {
			t.Fatal(err)
		}
	}
	accounts, err := account.New(t.Context(), account.Options{Keeper: db, Cost: cheap})
	if err != nil {
		t.Fatal(err)
	}
	options := console.Options{Store: db, Accounts: accounts, Ready: db.Writable, Version: "test"}
	if change != nil {
		change(&options)
	}
	desk, err := console.New(options)
	if err != nil {
		t.Fatal(err)
	}
	var w *world
	t.Cleanup(func() {
		if err := w.desk.Close(); err != nil {
			t.Error(err)
		}
		if err := w.db.Shut(); err != nil {
			t.Error(err)
		}
	})
	w = &world{t: t, desk: desk, db: db, accounts: accounts, tokens: make(map[string]account.Secret), booted: time.Now().Add(-2 * time.Hour), file: file, lanes: make(map[string]*lane)}
	w.token("tester")
	w.token("Li")
	return w
}

// send stores an event that the device captured age ago.
func (w *world) send(device string, l wire.Lane, age time.Duration, body wire.Body, edits ...func(*wire.Event)) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	name := device + "/" + l.String()
	if w.lanes[name] == nil {
		w.lanes[name] = &lane{stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}}
	}
	at := w.lanes[name]
	at.seq++
	now := time.Now()
	e := &wire.Event{
		Device: device, Stream: at.stream, Lane: l, Seq: at.seq, Prev: at.prev, Boot: 1, Mono: now.Add(-age).Sub(w.booted),
		Wall: wire.Wall{UnixMilli: now.Add(-age).UnixMilli(), Source: wire.WallGNSS, Uncertainty: 40 * time.Millisecond},
		Body: body,
	}
	for _, edit := range edits {
		edit(e)
	}
	message, err := wire.Seal(e, key)
	if err != nil {
		w.t.Error(err)
		return
	}
	at.prev = wire.HashOf(message)
	if _, err := w.db.Commit(w.t.Context(), store.Batch{Arrivals: []store.Arrival{{Event: e, Message: message, Received: now}}}); err != nil {
		w.t.Error(err)
	}
}

// press sends an alarm that was raised age ago, and returns its id.
func (w *world) press(device string, kind wire.AlarmKind, age time.Duration, edits ...func(*wire.AlarmRaised)) wire.AlarmID {
	w.t.Helper()
	body := &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: kind, Button: kind.String(), Press: 1}
	for _, edit := range edits {
		edit(body)
	}
	w.send(device, wire.Alarm, age, body)
	return body.Alarm
}

// fix sends a car's position of age ago.
func (w *world) fix(device string, age time.Duration, lat, lon float64, course int64) {
	w.t.Helper()
	w.send(device, wire.Track, age, &wire.TrackBatch{Fixes: []wire.TrackFix{{
		Time: time.Now().Add(-age).UnixMilli(), LatE6: int64(lat * 1e6), LonE6: int64(lon * 1e6),
		Alt: 512, Speed: 83, Course: course, HDOP: 9, Flags: wire.Fix3D | wire.HasAlt | wire.HasSpeed | wire.HasCourse | wire.HasHDOP,
	}}})
}

// health sends a heartbeat.
func (w *world) health(device string, queue map[wire.Lane]uint64) {
	w.t.Helper()
	w.send(device, wire.Duty, 0, wire.NewHealth(time.Hour, "0.2.0", queue))
}

// lock has another connection hold the database, until the returned function is called.
func (w *world) lock() (unlock func()) {
	w.t.Helper()
	other, err := sql.Open("sqlite", w.file)
	if err == nil {
		other.SetMaxOpenConns(1)
		_, err = other.ExecContext(w.t.Context(), `PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE`)
	}
	if err != nil {
		w.t.Error(err)
	}
	return func() {
		if err := other.Close(); err != nil {
			w.t.Error(err)
		}
	}
}

// cheap is what a password costs in tests that are not about it.
var cheap = account.Cost{MemoryKiB: 64, Passes: 1, Lanes: 1}

// token is that of an account of that name, an admin of the whole district, made at the
// first call.
func (w *world) token(name string) account.Secret {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.tokens[name] == "" {
		w.tokens[name] = w.grant(name, account.Admin, account.Scope{account.Everywhere})
	}
	return w.tokens[name]
}

// grant makes an account with a token.
func (w *world) grant(name string, role account.Role, scope account.Scope) account.Secret {
	w.t.Helper()
	a, _, err := w.accounts.Create(w.t.Context(), account.Actor{}, name, role, scope, account.Opening{TokenOnly: true})
	if err != nil {
		w.t.Fatal(err)
	}
	_, secret, err := w.accounts.MakeToken(w.t.Context(), account.Actor{}, a.ID, "test", role, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	return secret
}

// password opens each account that session makes.
const password = "seven quiet lanterns upstream"

// session signs a browser in as an account of that name, made at the first call.
func (w *world) session(name string, role account.Role) (account.Secret, error) {
	if _, err := w.accounts.ByName(name); err != nil {
		_, _, err := w.accounts.Create(w.t.Context(), account.Actor{}, name, role, account.Scope{account.Everywhere}, account.Opening{Password: password})
		if err != nil {
			return "", err
		}
	}
	secret, _, err := w.accounts.SignIn(w.t.Context(), name, password, account.From{Address: netip.MustParseAddr("127.0.0.1")}, "")
	return secret, err
}

// account is the number of an account.
func (w *world) account(name string) int64 {
	w.t.Helper()
	a, err := w.accounts.ByName(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return a.ID
}

// local makes a request come over the loopback interface.
func local(r *http.Request) *http.Request {
	r.Host, r.RemoteAddr = "127.0.0.1:8080", "127.0.0.1:50000"
	return r
}

// as is who a request comes from unless it says so itself: whom its "by" names.
func (w *world) as(r *http.Request, body string) {
	w.t.Helper()
	if r.Header.Get("Authorization") != "" || strings.Contains(r.Header.Get("Cookie"), "fengsui-loopback") {
		return
	}
	var by struct{ By string }
	if json.Unmarshal([]byte(body), &by) != nil || by.By == "" {
		by.By = "tester"
	}
	name, err := account.ParseName(by.By)
	if err != nil {
		name = "tester"
	}
	r.Header.Set("Authorization", "Bearer "+string(w.token(name)))
}

// through serves a desk to whom nobody has to sign in: what carries no credential comes from
// the tester, over the loopback interface.
func (w *world) through(desk http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		w.as(local(r), "")
		desk.ServeHTTP(out, r)
	})
}

// do asks the desk and returns the answer with its body.
func (w *world) do(method, target, body string, header ...string) (*http.Response, []byte) {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, target, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w.as(local(r), body)
	recorder := httptest.NewRecorder()
	w.desk.ServeHTTP(recorder, r)
	answer := recorder.Result()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	return answer, all
}

// want asks and fails unless the status is that; it decodes the answer into out.
func (w *world) want(status int, method, target, body string, out any) {
	w.t.Helper()
	answer, all := w.do(method, target, body)
	if answer.StatusCode != status {
		w.t.Fatalf("%s %s %s: %s %s: want %d", method, target, body, answer.Status, all, status)
	}
	if out == nil {
		return
	}
	if err := json.Unmarshal(all, out); err != nil {
		w.t.Fatalf("%s %s: %v in %s", method, target, err, all)
	}
}
