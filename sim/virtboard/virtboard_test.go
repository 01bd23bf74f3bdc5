package virtboard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fengsui/fengsui/boards/image"
	"github.com/fengsui/fengsui/boards/image/settings"
	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/sim"
	"github.com/fengsui/fengsui/sim/desk"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/lampwatch"
	"github.com/fengsui/fengsui/sim/link"
	"github.com/fengsui/fengsui/sim/mono"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/virtboard"
)

func TestMain(m *testing.M) {
	if sim.IsChild(os.Args[1:]) {
		os.Exit(sim.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	// The boards mostly wait: four at a time keep two processors half idle.
	if err := flag.Set("test.parallel", "4"); err != nil {
		panic(err)
	}
	code := m.Run()
	if firmware.path != "" {
		_ = os.RemoveAll(filepath.Dir(firmware.path))
	}
	os.Exit(code)
}

// need skips a test, aloud, where the board cannot run; where CI=true it fails.
func need(t *testing.T) {
	t.Helper()
	err := virtboard.Available()
	switch {
	case err == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(err)
	default:
		t.Skipf("not run: %v", err)
	}
}

// patience is for what must come; the board is slow, and the machine may be busy.
const patience = 2 * time.Minute

// eventually waits until something holds; it is asked often.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}

// firmware is built once, for all boards of the tests.
var firmware struct {
	sync.Once
	path string
	err  error
}

// buildFirmware builds the program as make build does.
func buildFirmware(t *testing.T) string {
	t.Helper()
	firmware.Do(func() {
		dir, err := os.MkdirTemp("", "fengsui-firmware-")
		if err != nil {
			firmware.err = err
			return
		}
		firmware.path = filepath.Join(dir, "fengsui")
		firmware.err = buildFor("arm64", "", firmware.path)
	})
	if firmware.err != nil {
		t.Fatal(firmware.err)
	}
	return firmware.path
}

func buildFor(arch, arm, out string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version=test",
		"-o", out, "github.com/fengsui/fengsui/firmware/cmd/fengsui")
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH="+arch, "GOARM="+arm, "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build for %s%s: %w\n%s", arch, arm, err, said)
	}
	return nil
}

// A world is a centre and one virtual board.
type world struct {
	*testing.T
	d   *district.District
	box *district.Device
	log string // the path of what the board says
	dir string // of all data
}

// start starts a centre and one virtual board.
func start(t *testing.T, box scenario.Device, onCard string) *world {
	t.Helper()
	need(t)
	self, err := district.Self()
	if err != nil {
		t.Fatal(err)
	}
	source, err := image.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	program := buildFirmware(t)
	var card []byte
	if onCard != "" {
		card = []byte(onCard)
	}
	box.Board = "virt"
	dir := t.TempDir()
	d, err := district.Start(t.Context(), district.Options{
		Data: dir, Devices: map[string]scenario.Device{"box-01": box}, DeskAddr: "127.0.0.1:0", Seed: 1,
		Centre: func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
			return bridge.Run(ctx, "test", args, stdin, stdout, stderr)
		},
		Starter: self,
		Image: func(ctx context.Context, board string, config []byte, out string) error {
			o := image.Options{Board: board, Config: config, Source: source, Version: "test", Firmware: program, Settings: card, Out: out}
			if !strings.Contains(onCard, "wifi:") {
				return image.Build(ctx, o)
			}
			o.Settings = nil // it would refuse them: the board has no radio
			return errors.Join(image.Build(ctx, o), writeByHand(out, card))
		},
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, d: d, log: filepath.Join(dir, "box-01.log"), dir: dir}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(w.log); err == nil && t.Failed() {
			t.Logf("the board says:\n%s", b[max(0, len(b)-6000):])
		}
	})
	if w.box, err = d.Device("box-01"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "in touch with the centre", w.box.Connected)
	return w
}

var alarmBox = scenario.Device{Kind: "alarm-box", Buttons: map[string]scenario.Button{"panic": {Kind: "panic"}}, Siren: true}

// press presses the button, for good.
func (w *world) press() time.Duration {
	w.Helper()
	at, err := w.box.Press(w.Context(), "panic", district.PressOptions{Bounce: true})
	if err != nil {
		w.Fatal(err)
	}
	return at
}

// red waits for the line of the red lamp to rise after a press: the box has
// promised that the alarm is stored.
func (w *world) red(at time.Duration) time.Duration {
	w.Helper()
	var red time.Duration
	eventually(w.T, "the red lamp's line rises", func() (ok bool) {
		red, ok = w.box.Red(at)
		return ok
	})
	return red - at
}

// shows waits until the lamps tell something.
func (w *world) shows(since time.Duration, want lampwatch.Shows) {
	w.Helper()
	eventually(w.T, string(want), func() bool {
		history, _ := w.box.Lamps(since)
		return len(history) > 0 && history[len(history)-1].View.Certain() == want
	})
}

// incident waits for the alarm at the desk that is not closed.
func (w *world) incident() desk.Incident {
	w.Helper()
	var found desk.Incident
	eventually(w.T, "the incident at the desk", func() bool {
		all, err := w.d.Desk.Incidents(w.Context())
		if err != nil {
			w.Fatal(err)
		}
		for _, i := range all {
			if i.Device == "box-01" && i.Kind == "panic" && i.State != "closed" {
				found = i
				return true
			}
		}
		return false
	})
	return found
}

// events returns all events of the box that the centre has.
func (w *world) events() (all []desk.Event) {
	w.Helper()
	for after := ""; ; {
		page, next, err := w.d.Desk.Events(w.Context(), "box-01", after)
		if err != nil {
			w.Fatal(err)
		}
		all = append(all, page...)
		if len(page) == 0 || next == after || next == "" {
			return all
		}
		after = next
	}
}

// started returns why the box said that it started, each time, as the centre
// has it.
func (w *world) started() (why []string) {
	w.Helper()
	for _, e := range w.events() {
		var h struct{ Started string }
		if err := json.Unmarshal(e.Body, &h); err != nil {
			w.Fatal(err)
		}
		if e.Type == "health" && h.Started != "" {
			why = append(why, h.Started)
		}
	}
	return why
}

// says waits until the board's log holds a text.
func (w *world) says(text string) {
	w.Helper()
	eventually(w.T, "the board says "+strconv.Quote(text), func() bool {
		b, err := os.ReadFile(w.log)
		if err != nil {
			w.Fatal(err)
		}
		return bytes.Contains(b, []byte(text))
	})
}

// A card that hangs makes the firmware hang, which process 1 notices; when the
// card comes to, the firmware is started again.
func TestAHungFirmwareIsStartedAgain(t *testing.T) {
	t.Parallel()
	w := start(t, alarmBox, "")
	if err := w.box.SetCard(district.CardBlocks); err != nil {
		t.Fatal(err)
	}
	at := w.press() // it wants to store the alarm, and waits for the card
	w.says("SIGABRT")
	if _, promised := w.box.Red(at); promised {
		t.Error("the red lamp says that an alarm is stored which the card has not taken")
	}
	answers := mono.Now()
	if err := w.box.SetCard(district.CardAnswers); err != nil {
		t.Fatal(err)
	}
	eventually(t, "started again, and the centre knows why", func() bool {
		s := w.started()
		return len(s) == 2 && s[1] == "hung"
	})
	w.press() // the first one may have reached the card, or not: nothing was promised
	w.red(answers)
	w.incident()
}

// When the firmware cannot even be killed, the board's own watchdog starts the
// board.
func TestAHungBoardIsStartedByItsWatchdog(t *testing.T) {
	t.Parallel()
	w := start(t, alarmBox, "")
	if err := w.box.SetCard(district.CardBlocks); err != nil {
		t.Fatal(err)
	}
	w.press()
	w.says("[QEMU: WATCHDOG]") // the card comes to with the reset
	answers := mono.Now()
	eventually(t, "started again, and the centre knows why", func() bool {
		s := w.started()
		return len(s) == 2 && s[1] == "watchdog"
	})
	w.press() // the first one may have reached the card, or not: nothing was promised
	w.red(answers)
	w.incident()
}

// cardSettings are put on a card's boot partition: a token, and the address that
// QEMU's network would have given.
const cardSettings = "join: 7Q-one-time-token\nethernet: {address: 10.0.2.15/24, gateway: 10.0.2.2}\n" +
	"wifi: {ssid: 石桥村, passphrase: very-secret, country: CN}\n"

// writeByHand puts settings on a card's boot partition, as anybody can who has the
// card.
func writeByHand(path string, card []byte) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	boot, err := image.Boot(f)
	if err == nil {
		err = boot.AddFile(settings.File, card)
	}
	return errors.Join(err, f.Close())
}

// taken checks that a card's settings are in the device's own folder, and no
// byte of the token anywhere before that partition.
func (w *world) taken() {
	w.Helper()
	b, err := os.ReadFile(w.log)
	if err != nil {
		w.Fatal(err)
	}
	if !bytes.Contains(b, []byte("-static_network_config")) || !bytes.Contains(b, []byte("10.0.2.15/24")) {
		w.Error("the board does not say that it has the card's address")
	}
	f, err := os.Open(filepath.Join(w.dir, "box-01.card"))
	if err != nil {
		w.Fatal(err)
	}
	defer f.Close()
	secrets := []string{"7Q-one-time-token", "very-secret"}
	head := make([]byte, image.PermStart)
	if _, err := io.ReadFull(f, head); err != nil {
		w.Fatal(err)
	}
	for _, secret := range secrets {
		if bytes.Contains(head, []byte(secret)) {
			w.Errorf("%q is still on the boot partition", secret)
		}
	}
	rest, err := io.ReadAll(f)
	if err != nil {
		w.Fatal(err)
	}
	for _, secret := range secrets {
		if !bytes.Contains(rest, []byte(secret)) {
			w.Errorf("%q is not in the device's folder", secret)
		}
	}
}

// wireless waits until a heartbeat tells of the wireless network, and returns what.
func (w *world) wireless() (state, ssid string) {
	w.Helper()
	eventually(w.T, "a word of the wireless network", func() bool {
		for _, e := range w.events() {
			var h struct{ WiFi, SSID string }
			if err := json.Unmarshal(e.Body, &h); err != nil {
				w.Fatal(err)
			}
			if e.Type == "health" && h.WiFi != "" && h.WiFi != "joining" {
				state, ssid = h.WiFi, h.SSID
				return true
			}
		}
		return false
	})
	return state, ssid
}

func TestAPressReachesTheDeskAndTheAnswerTheLamp(t *testing.T) {
	t.Parallel()
	box := alarmBox
	box.Health = scenario.Duration(5 * time.Second)
	w := start(t, box, cardSettings)
	w.taken()
	at := w.press()
	id := w.incident().ID
	if _, ok := w.box.Red(at); !ok {
		t.Fatal("the desk has the alarm, and the red lamp's line is low")
	}
	t.Logf("the line of the red lamp rose %v after the press", w.red(at))
	w.shows(at, lampwatch.CentreHas)
	if err := w.d.Desk.Acknowledge(t.Context(), id, "li"); err != nil {
		t.Fatal(err)
	}
	w.shows(at, lampwatch.Acknowledged)
	if v := w.box.View(); !v.Lamps.Amber.Lit || v.Lamps.Green.Lit {
		t.Errorf("the lines: amber %v, green %v, want amber alone", v.Lamps.Amber.Lit, v.Lamps.Green.Lit)
	}
	if err := w.d.Desk.Dispatch(t.Context(), id, "li", "car-01"); err != nil {
		t.Fatal(err)
	}
	w.shows(at, lampwatch.UnitComing)
	if v := w.box.View(); !v.Lamps.Red.Lit || !v.Lamps.Amber.Lit || !v.Lamps.Green.Lit {
		t.Errorf("the lines: %+v, want all three high", v.Lamps)
	}
	if got := w.started(); len(got) != 1 || got[0] != "unknown" {
		t.Errorf("a card that never ran says that it started by %q", got)
	}
	// The board has no radio, which takes nothing from the wire.
	if state, ssid := w.wireless(); state != "no_interface" || ssid != "石桥村" {
		t.Errorf("the wireless network: %q of %q, want no_interface, and its name", state, ssid)
	}
}

// What the box has promised outlives a power cut, which takes from its card what
// was not flushed. The ledger of what was promised is here: each press after
// which the line of the red lamp rose.
func TestPowerCuts(t *testing.T) {
	t.Parallel()
	box := alarmBox
	box.Health = scenario.Duration(5 * time.Second) // so that commits go on all the time
	w := start(t, box, "")
	rng := rand.New(rand.NewPCG(7, 7))
	const rounds = 3
	for round := range rounds {
		held := round%2 == 1 // the centre is away: only the card has the alarm
		if held {
			if err := w.box.Link(link.Cut); err != nil {
				t.Fatal(err)
			}
		}
		at := w.press()
		w.red(at)
		after := time.NewTimer(time.Duration(rng.Int64N(int64(300 * time.Millisecond))))
		<-after.C // the flow goes on meanwhile: acknowledgements, lamps
		cut := mono.Now()
		w.box.PowerCut()
		if held {
			if err := w.box.Link(link.Up); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.box.PowerRestore(); err != nil {
			t.Fatal(err)
		}
		w.red(cut) // it still shows what it has promised
		i := w.incident()
		if err := w.d.Desk.CloseIncident(t.Context(), i.ID, "li", "real", ""); err != nil {
			t.Fatal(err)
		}
		w.shows(cut, lampwatch.Idle)
	}
	raised := make(map[string]int)
	for _, e := range w.events() {
		var b struct{ Alarm string }
		if err := json.Unmarshal(e.Body, &b); err != nil {
			t.Fatal(err)
		}
		if e.Type == "alarm_raised" {
			raised[b.Alarm]++
		}
	}
	if len(raised) != rounds {
		t.Errorf("%d alarms are at the centre, %d were promised: %v", len(raised), rounds, raised)
	}
	for alarm, n := range raised {
		if n != 1 {
			t.Errorf("alarm %s is there %d times", alarm, n)
		}
	}
	want := "unknown" + strings.Repeat(" power", rounds)
	eventually(t, "the last heartbeat", func() bool { return strings.Join(w.started(), " ") == want })
	devices, err := w.d.Desk.Devices(t.Context())
	if err != nil || len(devices[0].Gaps) > 0 {
		t.Errorf("gaps %+v, %v", devices, err)
	}
}

// The control of TestPowerCuts: on a card that lies about what it has flushed,
// the same cut loses the alarm, and the same ledger finds that.
func TestPowerCutsOfALyingCard(t *testing.T) {
	t.Parallel()
	w := start(t, alarmBox, "")
	if err := errors.Join(w.box.SetCard(district.CardLies), w.box.Link(link.Cut)); err != nil {
		t.Fatal(err)
	}
	w.red(w.press())
	w.box.PowerCut()
	if err := errors.Join(w.box.Link(link.Up), w.box.PowerRestore()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it runs again", func() bool {
		b, err := os.ReadFile(w.log)
		if err != nil {
			t.Fatal(err)
		}
		return bytes.Count(b, []byte("msg=running ")) == 2 && bytes.Count(b, []byte("msg=\"uplink connected\"")) >= 2
	})
	all, err := w.d.Desk.Incidents(t.Context())
	if err != nil || slices.ContainsFunc(all, func(i desk.Incident) bool { return i.Kind == "panic" }) {
		t.Errorf("incidents %+v, %v: this card forgets all, and the cut has cut nothing", all, err)
	}
	if v := w.box.View(); v.Lamps.Red.Lit {
		t.Error("the box still knows of an alarm that its card forgot")
	}
}

// A scenario names a virtual board as any other device.
func TestAScenarioWithABoard(t *testing.T) {
	t.Parallel()
	need(t)
	report := filepath.Join(t.TempDir(), "report.json")
	code := sim.Run(t.Context(), "test", []string{"run", "../scenarios/virtual-board/car.yaml", "--report", report}, strings.NewReader(""), t.Output(), t.Output())
	if code != 0 {
		t.Errorf("exit status %d", code)
	}
	if b, err := os.ReadFile(report); err != nil || !bytes.Contains(b, []byte(`"passed": true`)) {
		t.Errorf("report: %s %v", b, err)
	}
}

// boxConfig is of a box whose centre is nowhere.
const boxConfig = `device: box-01
profile: alarm-box
data: /perm/fengsui
board: virt
centre: {servers: ["mqtt://10.0.2.2:9"], key: 8139770ea87d175f56a35466c34c7ecccb8d8a91b4ee37a25df60f5b8fc9b394}
buttons: {panic: {kind: panic}}
`

// A log keeps what a board says, and tells when it has said something.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) has(what string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Contains(l.text.Bytes(), []byte(what))
}

// A board that runs serves nobody: each port that gokrazy's own programs, or
// usual ones, would listen at closes at once.
func TestABoardServesNobody(t *testing.T) {
	t.Parallel()
	need(t)
	source, err := image.FindSource(".")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	built, card := filepath.Join(dir, "image"), filepath.Join(dir, "card")
	err = image.Build(t.Context(), image.Options{Board: "virt", Config: []byte(boxConfig), Source: source, Firmware: buildFirmware(t), Out: built})
	if err != nil {
		t.Fatal(err)
	}
	if err := virtboard.WriteCard(built, card); err != nil {
		t.Fatal(err)
	}
	disk, err := virtboard.OpenDisk(card)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	sockets, err := os.MkdirTemp("", "fengsui-qemu-") // a short path
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(sockets)
	ports := make(map[int]int)
	var taken []net.Listener
	for _, there := range []int{21, 22, 23, 53, 80, 111, 443, 514, 1022, 1080, 1883, 2222, 5000, 5005, 6060, 8000, 8022, 8080, 8443, 8888, 9000, 9090, 9100} {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[ln.Addr().(*net.TCPAddr).Port] = there
		taken = append(taken, ln)
	}
	for _, ln := range taken { // QEMU takes them a moment later
		if err := ln.Close(); err != nil {
			t.Fatal(err)
		}
	}
	var said log
	m, err := virtboard.Start(t.Context(), virtboard.Options{Dir: sockets, Disk: disk, Console: &said, Forward: ports})
	if err != nil {
		t.Fatal(err)
	}
	defer m.PowerCut()
	eventually(t, "the board runs", func() bool { return said.has("msg=running") })
	eventually(t, "it has an address", func() bool { return said.has("DHCPACK") })
	for here, there := range ports {
		c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", here))
		if err != nil {
			t.Errorf("port %d: QEMU does not forward it: %v", there, err)
			continue
		}
		if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, "GET / HTTP/1.0\r\n\r\n") // it may be closed already
		if b, err := io.ReadAll(c); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("port %d of the board answers: %q %v", there, b, err)
		}
		_ = c.Close()
	}
}

// A card loses on a power cut what was not flushed, and nothing else.
func TestACardForgets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "card")
	if err := os.WriteFile(path, make([]byte, 16<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := virtboard.OpenDisk(path)
	if err != nil {
		t.Fatal(err)
	}
	write := func(text string, at int64) {
		t.Helper()
		if _, err := d.WriteAt([]byte(text), at); err != nil {
			t.Fatal(err)
		}
	}
	read := func(at int64) string {
		t.Helper()
		b := make([]byte, 5)
		if _, err := d.ReadAt(b, at); err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	write("first", 4094) // over the end of a block
	if err := d.Flush(); err != nil {
		t.Fatal(err)
	}
	write("other", 4094)
	write("third", 9000)
	if got := read(4094) + read(9000); got != "otherthird" {
		t.Errorf("before the cut: %q", got)
	}
	if lost := d.Drop(); lost != 3*4096 {
		t.Errorf("%d bytes lost, want three blocks", lost)
	}
	if got := read(4094) + read(9000); got != "first\x00\x00\x00\x00\x00" {
		t.Errorf("after the cut: %q", got)
	}
	if _, err := d.WriteAt([]byte("x"), 16<<10); err == nil {
		t.Error("written behind the end")
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
}
