package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/firmware/wire"
)

const patience = 10 * time.Second // for what must come

var deviceKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))

func publicHex(k ed25519.PrivateKey) string {
	return hex.EncodeToString(k.Public().(ed25519.PublicKey))
}

// call runs a command to its end.
func call(t testing.TB, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	status = bridge.Run(t.Context(), "1.2.3", args, strings.NewReader(""), &out, &errs)
	return status, out.String(), errs.String()
}

func must(t testing.TB, args ...string) string {
	t.Helper()
	status, out, errs := call(t, args...)
	if status != 0 {
		t.Fatalf("cloud-bridge %s: status %d: %s", strings.Join(args, " "), status, errs)
	}
	return out
}

func TestCommands(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	key := publicHex(deviceKey)
	data := filepath.Join(dir, "data")
	add := func(more ...string) []string {
		return append([]string{"device", "add", "--data", data, "--id", "box-01", "--kind", "alarm-box", "--key", key}, more...)
	}
	serve := func(more ...string) []string {
		return append([]string{"serve", "--data", data, "--http-addr", "127.0.0.1:0", "--mqtt-addr", "127.0.0.1:0"}, more...)
	}
	for _, c := range []struct {
		name   string
		args   []string
		status int
		stdout string
		stderr string
	}{
		{"nothing", nil, 2, "", "no command"},
		{"unknown", []string{"sing"}, 2, "", `unknown command "sing"`},
		{"help", []string{"--help"}, 0, "usage: cloud-bridge", ""},
		{"version", []string{"version"}, 0, "cloud-bridge 1.2.3\n", ""},
		{"no data folder", []string{"key"}, 2, "", "--data DIR is missing"},
		{"stray argument", []string{"key", "--data", data, "x"}, 2, "", `unexpected argument "x"`},
		{"unknown flag", []string{"serve", "--data", data, "--port", "1"}, 2, "", "-port"},
		{"data is a file", []string{"key", "--data", file("f", "")}, 1, "", "data folder"},
		{"device", []string{"device"}, 2, "", "device add or device list"},
		{"add", add("--name", "村口", "--lat", "30.1", "--lon", "103.1"), 0, "", ""},
		{"list", []string{"device", "list", "--data", data}, 0, "box-01\talarm-box\t" + key + "\t村口\n", ""},
		{"a name that turns the line", add("--name", "\u202e村口"), 0, "", ""},
		{"it is listed as text", []string{"device", "list", "--data", data}, 0, "box-01\talarm-box\t" + key + "\t\uFFFD村口\n", ""},
		{"a name that clears the screen", add("--name", "\x1b[2J"), 1, "", `name "\x1b[2J": want at most 64 bytes of UTF-8 on one line`},
		{"half a position", add("--lat", "30.1"), 2, "", "--lat and --lon together"},
		{"latitude", add("--lat", "91", "--lon", "0"), 1, "", "lat 91: want -90 to 90"},
		{"not a number", add("--lat", "30x", "--lon", "0"), 2, "", "30x"},
		{"key", []string{"device", "add", "--data", data, "--id", "b", "--kind", "alarm-box", "--key", "abcd"}, 1, "", "64 hexadecimal digits"},
		{"kind", []string{"device", "add", "--data", data, "--id", "b", "--kind", "boat", "--key", key}, 1, "", `kind "boat": want alarm-box, patrol-car or patrol-motorcycle`},
		{"id", []string{"device", "add", "--data", data, "--id", "B!", "--kind", "alarm-box", "--key", key}, 1, "", `"B!"`},
		{"broker", serve("--broker", "http://x"), 2, "", "mqtt://host:port"},
		{"http address", []string{"serve", "--data", data, "--http-addr", "nowhere", "--mqtt-addr", "127.0.0.1:0"}, 1, "", "nowhere"},
		{"mqtt address", []string{"serve", "--data", data, "--mqtt-addr", "nowhere"}, 1, "", `"nowhere": want host:port`},
		{"map style", serve("--map-style", "ftp://x"), 1, "", "ftp://x"},
		{"no register", serve("--devices", filepath.Join(dir, "none.yaml")), 1, "", "none.yaml"},
		{"unknown key of the register", serve("--devices", file("a.yaml", "devices:\n- id: box-02\n  colour: red\n")), 1, "", "a.yaml:3: field"},
		{"device twice", serve("--devices", file("b.yaml", fmt.Sprintf("devices:\n- {id: a, kind: alarm-box, key: %q}\n- {id: a, kind: alarm-box, key: %q}\n", key, key))), 1, "", "each device once"},
		{"lat without lon", serve("--devices", file("c.yaml", fmt.Sprintf("devices:\n- {id: a, kind: alarm-box, key: %q, lat: 3}\n", key))), 1, "", "lat and lon together"},
		{"key of the register", serve("--devices", file("d.yaml", "devices:\n- {id: a, kind: alarm-box, key: \"12\"}\n")), 1, "", "64 hexadecimal digits"},
	} {
		status, stdout, stderr := call(t, c.args...)
		if status != c.status || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) || c.stderr == "" && stderr != "" {
			t.Errorf("%s: status %d, stdout %q, stderr %q: want %d, %q, %q", c.name, status, stdout, stderr, c.status, c.stdout, c.stderr)
		}
	}
}

func TestKey(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	first := must(t, "key", "--data", data)
	if k, err := hex.DecodeString(strings.TrimSpace(first)); err != nil || len(k) != ed25519.PublicKeySize {
		t.Fatalf("key %q", first)
	}
	if again := must(t, "key", "--data", data); again != first {
		t.Errorf("another key: %q, %q", first, again)
	}
	path := filepath.Join(data, "centre.key")
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: want 0600", st.Mode(), err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if status, _, errs := call(t, "key", "--data", data); status != 1 || !strings.Contains(errs, "0600") {
		t.Errorf("a key that everybody can read: status %d, %s", status, errs)
	}
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil || os.Chmod(path, 0o600) != nil {
		t.Fatal(err)
	}
	if status, _, errs := call(t, "key", "--data", data); status != 1 || !strings.Contains(errs, "PKCS #8") {
		t.Errorf("a key that is none: status %d, %s", status, errs)
	}
}

// A running centre.
type centre struct {
	desk, mqtt string
	stop       func() (status int, stderr string)
}

func serve(t testing.TB, args ...string) *centre {
	t.Helper()
	known := grant(t, args)
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	var errs bytes.Buffer
	status := make(chan int, 1)
	go func() {
		s := bridge.Run(ctx, "1.2.3", append([]string{"serve", "--http-addr", "127.0.0.1:0", "--mqtt-addr", "127.0.0.1:0"}, args...),
			strings.NewReader(""), in, &errs)
		in.Close()
		status <- s
	}()
	c := &centre{stop: func() (int, string) {
		cancel()
		go io.Copy(io.Discard, out)
		s := <-status
		return s, errs.String()
	}}
	line, err := bufio.NewReader(out).ReadString('\n')
	if _, serr := fmt.Sscanf(line, "ready desk=%s mqtt=%s\n", &c.desk, &c.mqtt); err != nil || serr != nil {
		_, log := c.stop()
		t.Fatalf("no ready line but %q, %v: %s", line, err, log)
	}
	known(c.desk)
	return c
}

func (c *centre) get(t *testing.T, path string, into any) int {
	t.Helper()
	r, err := http.Get(c.desk + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := into.(*string); ok {
		*s = string(b)
	} else if err := json.Unmarshal(b, into); err != nil {
		t.Fatalf("%s: %v: %s", path, err, b)
	}
	return r.StatusCode
}

// down is what a device receives.
func (c *centre) connect(t testing.TB, centreKey ed25519.PublicKey) (mqtt.Client, <-chan wire.DownBody) {
	t.Helper()
	got := make(chan wire.DownBody, 100)
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + c.mqtt).SetClientID("box-01").SetConnectTimeout(patience))
	if tok := client.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("connect: %v", tok.Error())
	}
	if tok := client.Subscribe(wire.DownTopic("box-01"), 0, func(_ mqtt.Client, m mqtt.Message) {
		d, err := wire.OpenDown(m.Payload(), centreKey, "box-01")
		if err != nil {
			t.Error(err)
			return
		}
		got <- d.Body
	}); !tok.WaitTimeout(patience) || tok.Error() != nil {
		t.Fatalf("subscribe: %v", tok.Error())
	}
	return client, got
}

// await returns when a message satisfies want.
func await(t testing.TB, what string, down <-chan wire.DownBody, want func(wire.DownBody) bool) {
	t.Helper()
	late := time.After(patience)
	for {
		select {
		case b := <-down:
			if want(b) {
				return
			}
		case <-late:
			t.Fatalf("no %s in %v", what, patience)
		}
	}
}

func seal(t testing.TB, l wire.Lane, seq uint64, prev []byte, b wire.Body) []byte {
	t.Helper()
	e := &wire.Event{Device: "box-01", Stream: wire.StreamID{7}, Lane: l, Seq: seq, Boot: 1, Body: b}
	if prev != nil {
		e.Prev = wire.HashOf(prev)
	}
	msg, err := wire.Seal(e, deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

// One press, from MQTT to the desk's API and back to the lamps; the folder
// keeps all of it over a restart; a running centre keeps a second one out.
func TestServe(t *testing.T) {
	data := t.TempDir()
	raw, err := hex.DecodeString(strings.TrimSpace(must(t, "key", "--data", data)))
	if err != nil {
		t.Fatal(err)
	}
	register := filepath.Join(t.TempDir(), "devices.yaml")
	if err := os.WriteFile(register, fmt.Appendf(nil, "devices:\n- {id: box-01, kind: alarm-box, key: %q, name: 村口, lat: 30.1, lon: 103.1}\n", publicHex(deviceKey)), 0o600); err != nil {
		t.Fatal(err)
	}
	c := serve(t, "--data", data, "--devices", register)
	if status, _, errs := call(t, "serve", "--data", data, "--http-addr", "127.0.0.1:0", "--mqtt-addr", "127.0.0.1:0"); status != 1 || !strings.Contains(errs, "another centre") {
		t.Errorf("a second centre in the folder: status %d, %s", status, errs)
	}
	must(t, "device", "add", "--data", data, "--id", "box-02", "--kind", "alarm-box", "--key", publicHex(deviceKey))

	client, down := c.connect(t, raw)
	press := seal(t, wire.Alarm, 1, nil, &wire.AlarmRaised{Alarm: wire.AlarmID{9}, Kind: wire.Fire, Button: "fire", Press: 1})
	client.Publish(wire.UpTopic("box-01", wire.Alarm), 1, false, press).WaitTimeout(patience)
	acked := func(b wire.DownBody) bool {
		a, ok := b.(*wire.Ack)
		return ok && a.UpTo[wire.Alarm] == 1
	}
	noticed := func(b wire.DownBody) bool {
		n, ok := b.(*wire.Notice)
		return ok && n.State == wire.NoticeAcknowledged && n.Alarm == wire.AlarmID{9}
	}
	await(t, "ack", down, acked)
	// What is acknowledged is on the desk.
	var list struct {
		Incidents []struct{ ID, State, Device string }
	}
	c.get(t, "/api/v1/incidents?state=open", &list)
	if len(list.Incidents) != 1 || list.Incidents[0].Device != "box-01" {
		t.Fatalf("incidents %+v", list)
	}
	r, err := http.Post(c.desk+"/api/v1/incidents/"+list.Incidents[0].ID+"/acknowledge", "application/json", strings.NewReader(`{"by":"li"}`))
	if err != nil || r.StatusCode != http.StatusOK {
		t.Fatalf("acknowledge: %v, %v", r, err)
	}
	r.Body.Close()
	await(t, "notice", down, noticed)
	client.Publish(wire.UpTopic("box-02", wire.Alarm), 1, false, press).WaitTimeout(patience)
	var refused struct {
		Total    int
		ByReason map[string]int `json:"by_reason"`
	}
	for deadline := time.Now().Add(patience); refused.Total == 0 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		c.get(t, "/api/v1/refused", &refused)
	}
	if refused.ByReason["topic of another device or lane"] != 1 {
		t.Errorf("refused %+v", refused)
	}
	var text string
	for path, want := range map[string]string{
		"/healthz": "", "/readyz": "",
		"/metrics": "fengsui_events_stored_total 1\n",
	} {
		if status := c.get(t, path, &text); status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%s: %d %s: want 200 with %q", path, status, text, want)
		}
	}
	client.Disconnect(0)
	if status, errs := c.stop(); status != 0 {
		t.Errorf("stopped with status %d: %s", status, errs)
	}
	if _, err := http.Get(c.desk + "/healthz"); err == nil {
		t.Error("the desk still answers after the end")
	}

	c = serve(t, "--data", data)
	c.get(t, "/api/v1/incidents", &list)
	if len(list.Incidents) != 1 || list.Incidents[0].State != "acknowledged" {
		t.Errorf("after a restart: %+v", list)
	}
	// The notice still waits for its answer, and a hello asks for it.
	client, down = c.connect(t, raw)
	defer client.Disconnect(0)
	hello, err := wire.SealHello(&wire.Hello{Device: "box-01", Stream: wire.StreamID{7}, Boot: 2, Window: map[wire.Lane]wire.Window{wire.Alarm: {Oldest: 1, Next: 2}}}, deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	client.Publish(wire.HelloTopic("box-01"), 1, false, hello).WaitTimeout(patience)
	seen := [2]bool{}
	await(t, "ack and notice", down, func(b wire.DownBody) bool {
		seen[0], seen[1] = seen[0] || acked(b), seen[1] || noticed(b)
		return seen[0] && seen[1]
	})
	if status, errs := c.stop(); status != 0 {
		t.Errorf("stopped with status %d: %s", status, errs)
	}
	nothingRuns(t)
}

// nothingRuns fails when a goroutine of the centre outlived it.
func nothingRuns(t *testing.T) {
	t.Helper()
	var left []string
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		left = nil
		stacks := make([]byte, 1<<20)
		for _, g := range strings.Split(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
			if !strings.Contains(g, "testing.(*T)") && (strings.Contains(g, "fengsui/cloud-bridge") || strings.Contains(g, "nats")) {
				left = append(left, g)
			}
		}
		if len(left) == 0 {
			return
		}
	}
	t.Errorf("%d goroutines outlive the centre:\n%s", len(left), strings.Join(left, "\n\n"))
}

// A centre whose broker is not there says so, and serves the desk.
func TestServeWithoutBroker(t *testing.T) {
	c := serve(t, "--data", t.TempDir(), "--broker", "mqtt://127.0.0.1:1")
	var text string
	if status := c.get(t, "/readyz", &text); status != http.StatusServiceUnavailable || !strings.Contains(text, "broker") || c.mqtt != "127.0.0.1:1" {
		t.Errorf("readyz: %d %s, mqtt=%s", status, text, c.mqtt)
	}
	if status, errs := c.stop(); status != 0 {
		t.Errorf("stopped with status %d: %s", status, errs)
	}
	nothingRuns(t)
}
