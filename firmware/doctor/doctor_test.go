package doctor_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"periph.io/x/conn/v3/gpio"
	"periph.io/x/conn/v3/gpio/gpiotest"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/button"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/doctor"
	"github.com/fengsui/fengsui/firmware/fingerprint/fingerprinttest"
	"github.com/fengsui/fengsui/firmware/gps/gpstest"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/modem/modemtest"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/uplink/uplinktest"
	"github.com/fengsui/fengsui/firmware/wifi"
	"github.com/fengsui/fengsui/firmware/wire"
)

var centreKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))

// A box is a device on its emulated ports, with a centre.
type box struct {
	t      *testing.T
	o      doctor.Options
	pins   map[string]*gpiotest.Pin
	gone   map[string]bool  // lines that are not there
	shut   map[string]error // lines and ports that cannot be opened
	noise  map[string]bool  // ports that something else speaks at
	dead   map[string]bool  // outputs that cannot be driven
	broken map[string]bool  // what a person does not see or do
	sensor *fingerprinttest.Sensor
	phone  *modemtest.Modem
	sky    func(time.Time) string // what the receiver says
	loop   atomic.Int64           // a button.LoopState
	mute   bool                   // of the centre
	deaf   bool                   // of the centre, to alarms
	banned bool                   // by the broker
	forged bool                   // the centre's answers

	broker  *uplinktest.Broker
	mu      sync.Mutex
	events  []*wire.Event
	told    []string
	answers chan doctor.Answer
}

func newBox(t *testing.T, dir string) *box {
	t.Helper()
	cfg, err := config.Parse("test", []byte(fmt.Sprintf(`device: box-01
profile: alarm-box
data: %s
centre: {servers: [mqtt://centre], key: %x}
buttons: {panic: {line: P, kind: panic}, fire: {line: F, kind: fire, supervised: {window: W}}}
inputs: {tamper: {line: T, active: high, pull: down}}
lamps: {red: {line: R}, amber: {line: Y}, green: {line: G}}
siren: {line: S}
gps: {port: none}
fingerprint: {port: other, officers: {3: P-1001}, own_password: false}
modem: {port: third, centre: ["+8613800000000"]}
spool: {limit_mib: 4}
`, dir, centreKey.Public())))
	if err != nil {
		t.Fatal(err)
	}
	b := &box{
		t: t, pins: make(map[string]*gpiotest.Pin), gone: make(map[string]bool), shut: make(map[string]error), noise: make(map[string]bool), dead: make(map[string]bool), broken: make(map[string]bool),
		sensor:  fingerprinttest.New(fingerprinttest.Options{Slots: []int{3}}),
		answers: make(chan doctor.Answer, 8), phone: modemtest.New("+8613900000000", modemtest.NewNetwork()),
		sky: func(at time.Time) string {
			return gpstest.Sentences(at.Truncate(10*time.Millisecond), gpstest.Point{Lat: 30, Lon: 103}, 0, 0)
		},
	}
	for _, n := range []string{"P", "F", "W", "T", "R", "Y", "G", "S"} {
		b.pins[n] = &gpiotest.Pin{N: n, EdgesChan: make(chan gpio.Level, 8)}
	}
	b.pins["P"].L = gpio.High
	b.loop.Store(int64(button.LoopNormal))
	b.o = doctor.Options{
		Config: cfg, Version: "test", Lang: "en", By: "a technician", Open: b.open, Line: b.line,
		Sensors: hw.Sensors{Root: t.TempDir()},
	}
	b.o.Clock.Disciplined = func() (bool, time.Duration) { return false, 0 }
	b.o.Clock.Earliest = time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble begins in 2000
	b.broker = uplinktest.New(t, &door{b: b})
	b.o.Dial = b.broker.Dial
	if err := b.broker.Subscribe(b.receive); err != nil {
		t.Fatal(err)
	}
	return b
}

// A door lets everybody in, unless the box is banned.
type door struct {
	mochi.HookBase
	b *box
}

func (*door) ID() string { return "door" }

func (*door) Provides(what byte) bool {
	return what == mochi.OnConnectAuthenticate || what == mochi.OnACLCheck
}

func (d *door) OnConnectAuthenticate(*mochi.Client, packets.Packet) bool {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	return !d.b.banned
}

func (*door) OnACLCheck(*mochi.Client, string, bool) bool { return true }

// babble is a port at which something speaks all the time, and listens to nothing.
func babble() (io.ReadWriteCloser, error) {
	near, far := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, far) }()
	go func() {
		for ; ; time.Sleep(10 * time.Millisecond) {
			if _, err := far.Write([]byte("\xfe\x80$\xff\x00\r\n\xef\x01\xff")); err != nil {
				return
			}
		}
	}()
	return near, nil
}

func (b *box) line(name string) (gpio.PinIO, error) {
	if b.gone[name] {
		return nil, fmt.Errorf("%w: %q", hw.ErrNoLine, name)
	}
	if err := b.shut[name]; err != nil {
		return nil, err
	}
	return pin{b.pins[name], b}, nil
}

// float takes a button's pull away: the fake's pins go where they are pulled.
func (b *box) float(name string) {
	c := b.o.Config.Buttons[name]
	c.Pull = "none"
	b.o.Config.Buttons[name] = c
}

// A pin can fail to be driven.
type pin struct {
	*gpiotest.Pin
	b *box
}

func (p pin) Out(l gpio.Level) error {
	if p.b.dead[p.N] {
		return errors.New("no such device")
	}
	return p.Pin.Out(l)
}

type loop struct{ b *box }

func (l loop) State() (button.LoopState, error) {
	state := button.LoopState(l.b.loop.Load())
	if state == 0 {
		return 0, errors.New("no converter")
	}
	return state, nil
}

func (l loop) Wait(d time.Duration) { time.Sleep(min(d, 10*time.Millisecond)) }

func (b *box) open(p *agent.Ports) {
	for name := range p.Loops {
		p.Loops[name] = loop{b}
	}
	p.GPS = func(ctx context.Context) (io.ReadWriteCloser, error) {
		if err := b.shut["gps"]; err != nil {
			return nil, err
		}
		if b.noise["gps"] {
			return babble()
		}
		near, far := net.Pipe()
		go func() {
			for time.Sleep(time.Second); ; time.Sleep(time.Second) {
				if s := b.sky(time.Now()); s != "" {
					if _, err := io.WriteString(far, s); err != nil {
						return
					}
				} else if _, err := far.Write(nil); err != nil || ctx.Err() != nil {
					return
				}
			}
		}()
		return near, nil
	}
	p.Modem = func(context.Context) (io.ReadWriteCloser, error) {
		if err := b.shut["modem"]; err != nil {
			return nil, err
		}
		if b.noise["modem"] {
			return babble()
		}
		near, far := net.Pipe()
		go func() { _ = b.phone.Serve(far) }()
		return near, nil
	}
	p.Fingerprint = func(ctx context.Context, baud int) (io.ReadWriteCloser, error) {
		if err := b.shut["fingerprint"]; err != nil {
			return nil, err
		}
		if b.noise["fingerprint"] {
			return babble()
		}
		return b.sensor.Open(context.WithoutCancel(ctx), baud)
	}
}

// receive is the centre: it acknowledges everything, unless it is broken.
func (b *box) receive(topic string, msg []byte) {
	key, err := agent.LoadOrCreateKey(b.o.Config.Data)
	if err != nil {
		b.t.Error(err)
		return
	}
	pub := key.Public().(ed25519.PublicKey)
	b.mu.Lock()
	defer b.mu.Unlock()
	ack := &wire.Ack{UpTo: make(map[wire.Lane]uint64)}
	if _, kind, _ := wire.ParseUpTopic(topic); kind == wire.HelloKind {
		h, err := wire.OpenHello(msg, pub)
		if err != nil {
			b.t.Error(err)
			return
		}
		ack.Stream, ack.Echo = h.Stream, &wire.Echo{Boot: h.Boot, MonoMs: h.MonoMs}
	} else {
		e, err := wire.Open(msg, pub)
		if err != nil {
			b.t.Error(err)
			return
		}
		b.events = append(b.events, e)
		if b.deaf && e.Lane == wire.Alarm {
			return
		}
		ack.Stream, ack.UpTo[e.Lane], ack.Hash = e.Stream, e.Seq, map[wire.Lane]wire.Hash{e.Lane: wire.HashOf(msg)}
	}
	if b.mute {
		return
	}
	by := centreKey
	if b.forged {
		by = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{3}, 32))
	}
	out, err := wire.SealDown(&wire.Down{Device: "box-01", CentreTime: time.Now().UnixMilli(), Body: ack}, by)
	if err != nil {
		b.t.Error(err)
	}
	_ = b.broker.Publish(wire.DownTopic("box-01"), out) // it does not fail
}

// person does what it is told.
func (b *box) person() *doctor.Person {
	return &doctor.Person{Answers: b.answers, Tell: func(id, text string) {
		b.told = append(b.told, text)
		if b.broken[id] {
			if strings.HasPrefix(id, "lamp") || id == "siren" {
				b.answers <- doctor.No
			}
			return
		}
		switch id {
		case "button:panic":
			go func() {
				for _, l := range []gpio.Level{gpio.Low, gpio.High} {
					b.pins["P"].EdgesChan <- l
					time.Sleep(300 * time.Millisecond)
				}
			}()
		case "button:fire":
			go func() {
				b.loop.Store(int64(button.LoopAlarm))
				time.Sleep(300 * time.Millisecond)
				b.loop.Store(int64(button.LoopNormal))
			}()
		case "fingerprint":
			go func() {
				time.Sleep(time.Second)
				b.sensor.Lay(3)
			}()
		case "gps":
		default:
			if name := map[string]string{"lamp:red": "R", "lamp:amber": "Y", "lamp:green": "G"}[id]; name != "" && !b.pins[name].Read() {
				b.t.Errorf("%s is dark while it is asked for", id)
			}
			b.answers <- doctor.Yes
		}
	}}
}

// run runs the checks and returns what was not as it should be, by id and code.
func (b *box) run() (*doctor.Signed, []string) {
	b.t.Helper()
	s, err := doctor.Run(b.t.Context(), b.o)
	if err != nil {
		b.t.Fatal(err)
	}
	var wrong []string
	for _, r := range s.Results {
		if r.Status == doctor.Fail || r.Status == doctor.Skip {
			wrong = append(wrong, fmt.Sprint(r.ID, " ", r.Code))
		}
		for _, lang := range doctor.Langs() {
			if r.Text[lang] == "" || strings.HasPrefix(r.Text[lang], "found.") || strings.Contains(r.Text[lang], "{") {
				b.t.Errorf("%s %s in %s: %q", r.ID, r.Code, lang, r.Text[lang])
			}
		}
	}
	return s, wrong
}

func inBox(t *testing.T, f func(*box)) {
	t.Helper()
	inBoxAt(t, t.TempDir(), f)
}

func inBoxAt(t *testing.T, dir string, f func(*box)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := newBox(t, dir)
		f(b)
		b.broker.Link(false)
		b.broker.Close()
		time.Sleep(5 * time.Second) // the emulators notice that their ports are closed
		for _, n := range []string{"R", "Y", "G", "S"} {
			if b.pins[n].Read() {
				t.Errorf("output %s is left on", n)
			}
		}
	})
}

// With everything in order, and somebody there, all is tried and signed, and the
// centre has it.
func TestAGoodBox(t *testing.T) {
	inBox(t, func(b *box) {
		b.o.Person = b.person()
		asked := 0
		b.o.WiFi = func() (*wifi.State, error) { // it comes in while it is looked at
			if asked++; asked < 10 {
				return &wifi.State{Condition: wifi.Away, SSID: "a", Error: "e"}, nil
			}
			return &wifi.State{Condition: wifi.Joined, SSID: "a", SignalDBm: -61}, nil
		}
		s, wrong := b.run()
		if len(wrong) != 0 || s.Verdict != doctor.Good || !s.Acknowledged || s.By != "a technician" || s.Place == nil || s.Ended.Source == "none" {
			t.Errorf("wrong %q, verdict %s, acknowledged %v, ended %+v, place %v", wrong, s.Verdict, s.Acknowledged, s.Ended, s.Place)
		}
		ids := make(map[string]string)
		for _, r := range s.Results {
			ids[r.ID] = r.Code
		}
		want := map[string]string{
			"storage": "disk_good", "key": "key_good", "spool": "spool_good", "temperature": "no_thermometer", "supply": "supply_untold",
			"button:panic": "button_pressed", "button:fire": "button_pressed", "input:tamper": "input_rests", "lamp:red": "seen", "lamp:amber": "seen", "lamp:green": "seen",
			"siren": "seen", "voice": "not_configured", "fingerprint": "finger_known", "gps": "gps_fix", "modem": "signal_good", "wifi": "wifi_good", "server:centre:1883": "server_reached",
			"centre": "centre_answers", "test_alarm": "alarm_acknowledged", "clock": "clock_good",
		}
		if !maps.Equal(ids, want) {
			t.Errorf("got %q,\nwant %q", ids, want)
		}
		var types []string
		for _, e := range b.events {
			types = append(types, fmt.Sprint(e.Body.Type(), e.Drill))
		}
		if !slices.Equal(types, []string{"alarm_raised true", "alarm_cleared true", "commissioned true"}) {
			t.Errorf("the centre has %q", types)
		}
		c := b.events[2].Body.(*wire.Commissioned)
		if c.Verdict != wire.CommissionPass || c.Passed != uint64(s.Counts[doctor.Pass]) || c.By != "a technician" || c.SelfTest {
			t.Errorf("the summary is %+v", c)
		}
		checkPage(t, b, s)
	})
}

// checkPage verifies the page, and that no other one verifies.
func checkPage(t *testing.T, b *box, s *doctor.Signed) {
	t.Helper()
	key, err := agent.LoadOrCreateKey(b.o.Config.Data)
	if err != nil {
		t.Fatal(err)
	}
	pub := key.Public().(ed25519.PublicKey)
	html, err := s.HTML()
	if err != nil {
		t.Fatal(err)
	}
	if r, err := doctor.Verify(html, pub); err != nil || r.Device != "box-01" {
		t.Errorf("verify: %v", err)
	}
	if strings.Contains(string(html), "http") {
		t.Error("the page needs something from elsewhere")
	}
	for what, c := range map[string]struct {
		old, new string
		want     error
	}{
		"a word of the page": {"a technician</dd>", "another one</dd>", doctor.ErrChanged},
		"what was signed":    {`"by":"a technician"`, `"by":"another one"`, doctor.ErrSignature},
		"no signature":       {`<meta name="signature"`, `<meta name="x"`, doctor.ErrSignature},
		"no report":          {`id="report"`, `id="x"`, doctor.ErrReport},
		"another format":     {`"format":"fengsui-doctor/1"`, `"format":"fengsui-doctor/9"`, doctor.ErrReport},
	} {
		changed := bytes.ReplaceAll(html, []byte(c.old), []byte(c.new))
		if bytes.Equal(changed, html) {
			t.Fatalf("%s: nothing to change", what)
		}
		if _, err := doctor.Verify(changed, pub); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", what, err, c.want)
		}
	}
	if _, err := doctor.Verify(html, centreKey.Public().(ed25519.PublicKey)); !errors.Is(err, doctor.ErrSignature) {
		t.Errorf("another key: %v", err)
	}
}

// Each part broken in turn is named, and nothing else is.
func TestEachPartBroken(t *testing.T) {
	quiet := func(time.Time) string { return "" }
	air := func(s wifi.State) func(*box) {
		return func(b *box) { b.o.WiFi = func() (*wifi.State, error) { return &s, nil } }
	}
	with := func(say func(time.Time) string) func(*box) { return func(b *box) { b.sky = say } }
	for name, c := range map[string]struct {
		break_ func(*box)
		want   []string
	}{
		"no panic line":    {func(b *box) { b.gone["P"] = true }, []string{"button:panic line_missing"}},
		"a stuck button":   {func(b *box) { b.pins["P"].L = gpio.Low; b.float("panic") }, []string{"button:panic button_stuck"}},
		"a button unwired": {func(b *box) { b.broken["button:panic"] = true }, []string{"button:panic button_unpressed"}},
		"a cut cable":      {func(b *box) { b.loop.Store(int64(button.LoopOpen)) }, []string{"button:fire cable_cut"}},
		"a crushed cable":  {func(b *box) { b.loop.Store(int64(button.LoopShort)) }, []string{"button:fire cable_short"}},
		"no converter":     {func(b *box) { b.loop.Store(0) }, []string{"button:fire cable_unread"}},
		"an open box": {func(b *box) {
			b.pins["T"].L = gpio.High
			b.pins["T"].P = gpio.Float
			b.o.Config.Inputs["tamper"] = open
		}, []string{"input:tamper input_tamper"}},
		"no tamper line":     {func(b *box) { b.gone["T"] = true }, []string{"input:tamper line_missing"}},
		"a lamp unwired":     {func(b *box) { b.broken["lamp:amber"] = true }, []string{"lamp:amber not_seen"}},
		"a dead lamp":        {func(b *box) { b.dead["G"] = true }, []string{"lamp:green not_driven"}},
		"no lamp line":       {func(b *box) { b.gone["R"] = true }, []string{"lamp:red line_missing"}},
		"a dead siren":       {func(b *box) { b.dead["S"] = true }, []string{"siren not_driven"}},
		"a silent siren":     {func(b *box) { b.broken["siren"] = true }, []string{"siren not_seen"}},
		"a held lamp line":   {func(b *box) { b.shut["R"] = syscall.EBUSY }, []string{"lamp:red line_missing"}},
		"a held button":      {func(b *box) { b.shut["P"] = syscall.EBUSY }, []string{"button:panic line_missing"}},
		"no siren line":      {func(b *box) { b.gone["S"] = true }, []string{"siren line_missing"}},
		"a small card":       {func(b *box) { b.o.Config.Spool.LimitMiB = 1 << 40 }, []string{"storage disk_full"}},
		"no reader":          {func(b *box) { b.shut["fingerprint"] = os.ErrNotExist }, []string{"fingerprint port_shut"}},
		"a busy reader":      {func(b *box) { b.shut["fingerprint"] = syscall.EBUSY }, []string{"fingerprint port_shut"}},
		"a mute reader":      {func(b *box) { b.sensor.Break(fingerprinttest.Silent, false) }, []string{"fingerprint reader_lost"}},
		"a garbling reader":  {func(b *box) { b.sensor.Break(fingerprinttest.Garbage, false) }, []string{"fingerprint reader_lost"}},
		"a cut reader":       {func(b *box) { b.sensor.Break(fingerprinttest.Cut, false) }, []string{"fingerprint reader_lost"}},
		"a slow reader":      {func(b *box) { b.sensor.Break(fingerprinttest.Slow, false) }, []string{"fingerprint reader_lost"}},
		"wrong sums":         {func(b *box) { b.sensor.Break(fingerprinttest.WrongSum, false) }, []string{"fingerprint reader_lost"}},
		"huge lengths":       {func(b *box) { b.sensor.Break(fingerprinttest.HugeLength, false) }, []string{"fingerprint reader_lost"}},
		"another speaks":     {func(b *box) { b.noise["fingerprint"] = true }, []string{"fingerprint reader_lost"}},
		"another speed":      {func(b *box) { b.o.Config.Fingerprint.Baud = 9600 }, []string{"fingerprint reader_baud"}},
		"a reader's lock":    {func(b *box) { b.sensor.SetPassword(99) }, []string{"fingerprint reader_password"}},
		"nobody's finger":    {func(b *box) { b.broken["fingerprint"] = true }, []string{"fingerprint finger_unknown"}},
		"no receiver":        {func(b *box) { b.shut["gps"] = os.ErrNotExist }, []string{"gps port_shut"}},
		"a busy receiver":    {func(b *box) { b.shut["gps"] = syscall.EBUSY }, []string{"gps port_shut"}},
		"a garbling line":    {func(b *box) { b.noise["gps"] = true }, []string{"gps gps_garbled"}},
		"a mute receiver":    {with(quiet), []string{"gps gps_mute"}},
		"no sky":             {with(gpstest.NoFix), []string{"gps gps_no_fix"}},
		"no antenna":         {with(func(at time.Time) string { return gpstest.Antenna("OPEN") + gpstest.NoFix(at) }), []string{"gps antenna_open"}},
		"a wet antenna":      {with(func(at time.Time) string { return gpstest.Antenna("SHORT") + gpstest.NoFix(at) }), []string{"gps antenna_short"}},
		"no SIM":             {func(b *box) { b.phone.Set(modemtest.Faults{SIM: "absent"}) }, []string{"modem sim_bad"}},
		"a mute modem":       {func(b *box) { b.phone.Set(modemtest.Faults{Mute: true}) }, []string{"modem modem_lost"}},
		"no modem":           {func(b *box) { b.shut["modem"] = os.ErrNotExist }, []string{"modem port_shut"}},
		"a busy modem":       {func(b *box) { b.shut["modem"] = syscall.EBUSY }, []string{"modem port_shut"}},
		"no modem speaks":    {func(b *box) { b.noise["modem"] = true }, []string{"modem modem_lost"}},
		"a failed SIM":       {func(b *box) { b.phone.Set(modemtest.Faults{SIM: "failed"}) }, []string{"modem sim_bad"}},
		"a SIM with a PIN":   {func(b *box) { b.phone.Set(modemtest.Faults{SIM: "pin"}) }, []string{"modem sim_bad"}},
		"a locked SIM":       {func(b *box) { b.phone.Set(modemtest.Faults{SIM: "puk"}) }, []string{"modem sim_bad"}},
		"no network":         {func(b *box) { b.phone.Set(modemtest.Faults{NoNetwork: true}) }, []string{"modem no_network"}},
		"a weak radio":       {air(wifi.State{Condition: wifi.Joined, SSID: "a", SignalDBm: -76}), []string{"wifi wifi_weak"}},
		"no access point":    {air(wifi.State{Condition: wifi.Away, SSID: "a", Error: "e"}), []string{"wifi wifi_away"}},
		"a wrong passphrase": {air(wifi.State{Condition: wifi.Refused, SSID: "a", Error: "e"}), []string{"wifi wifi_refused"}},
		"no driver":          {air(wifi.State{Condition: wifi.NoDriver, SSID: "a", Error: "e"}), []string{"wifi wifi_no_radio"}},
		"no radio":           {air(wifi.State{Condition: wifi.NoInterface, SSID: "a", Error: "e"}), []string{"wifi wifi_no_radio"}},
		"a refused radio":    {air(wifi.State{Condition: wifi.Failed, SSID: "a", Error: "e"}), []string{"wifi wifi_failed"}},
		"a radio that waits": {air(wifi.State{Condition: wifi.Joining, SSID: "a"}), []string{"wifi wifi_not_joined"}},
		"no word of a radio": {func(b *box) { b.o.WiFi = func() (*wifi.State, error) { return nil, errors.New("netlink") } }, []string{"wifi wifi_failed"}},
		"no broker":          {func(b *box) { b.broker.Link(false) }, []string{"server:centre:1883 server_unreached", "centre not_possible", "test_alarm not_possible"}},
		"no broker, no sky": {func(b *box) { b.broker.Link(false); b.sky = gpstest.NoFix }, []string{
			"gps gps_no_fix", "server:centre:1883 server_unreached", "centre not_possible", "test_alarm not_possible", "clock clock_unset",
		}},
		"a wrong time server": {func(b *box) {
			b.o.Clock.Disciplined = func() (bool, time.Duration) { return true, 10 * time.Millisecond }
			b.o.Clock.Now = func() time.Time { return time.Now().Add(time.Hour) }
		}, []string{"clock clock_wrong"}},
		"a broker that refuses": {func(b *box) { b.banned = true }, []string{"centre centre_refuses", "test_alarm not_possible"}},
		"another centre":        {func(b *box) { b.forged = true }, []string{"centre centre_other", "test_alarm not_possible"}},
		"a stranger there":      {func(b *box) { b.mute = true }, []string{"centre centre_silent", "test_alarm not_possible"}},
		"a centre that lost":    {func(b *box) { b.deaf = true }, []string{"test_alarm alarm_unacknowledged"}},
		"others read a key": {func(b *box) {
			if _, err := agent.LoadOrCreateKey(b.o.Config.Data); err != nil {
				b.t.Fatal(err)
			}
			if err := os.Chmod(b.o.Config.Data+"/device.key", 0o644); err != nil {
				b.t.Fatal(err)
			}
		}, []string{"key key_bad", "centre not_possible", "test_alarm not_possible"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBox(t, func(b *box) {
				c.break_(b)
				b.o.Person = b.person()
				s, wrong := b.run()
				if !slices.Equal(wrong, c.want) {
					t.Errorf("named %q, want %q", wrong, c.want)
				}
				if s.Verdict != doctor.Bad {
					t.Errorf("verdict %s", s.Verdict)
				}
				if s.Stored != (s.Signature != nil) {
					t.Errorf("signed %v, and on its way to the centre %v", s.Signature != nil, s.Stored)
				}
			})
		})
	}
}

var open = config.Input{Line: "T", Active: "high", Pull: "none", Hold: config.Duration(100 * time.Millisecond)}

// A disk that takes nothing is named, and the ports are looked at all the same.
func TestAReadOnlyDisk(t *testing.T) {
	inBox(t, func(b *box) {
		file := b.o.Config.Data + "/file"
		if err := os.WriteFile(file, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		b.o.Config.Data = file + "/below" // nobody can write there, not even root
		s, wrong := b.run()
		want := []string{"storage disk_read_only", "key key_bad", "spool spool_bad", "centre not_possible", "test_alarm not_possible"}
		if !slices.Equal(wrong, want) || s.Stored || s.Signature != nil {
			t.Errorf("named %q, want %q", wrong, want)
		}
	})
}

// A disk that is full is told from one that cannot be written.
func TestAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root: a full disk is not tested")
	}
	for name, size := range map[string]int{"wholly": 2 << 20, "nearly": 1<<20 - 64<<10, "half": 512 << 10} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
				t.Skipf("no file system can be mounted here, a full disk is not tested: %v", err)
			}
			defer func() {
				if err := syscall.Unmount(dir, 0); err != nil {
					t.Error(err)
				}
			}()
			if err := os.WriteFile(dir+"/other", make([]byte, size), 0o600); err != nil && name != "wholly" {
				t.Fatal(err)
			}
			inBoxAt(t, dir, func(b *box) {
				s, _ := b.run()
				if r := s.Results[0]; r.ID != "storage" || r.Code != "disk_full" || s.Verdict != doctor.Bad {
					t.Errorf("%s %s, verdict %s", r.ID, r.Code, s.Verdict)
				}
			})
		})
	}
}

// While an agent runs, the ports are its, and that is said.
func TestWhileAnAgentRuns(t *testing.T) {
	dir := t.TempDir()
	b := newBox(t, dir)
	defer b.broker.Close()
	sp, err := spool.Open(agent.SpoolPath(b.o.Config), spool.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer sp.Close()
	s, wrong := b.run()
	if !slices.Equal(wrong, []string{"spool agent_runs"}) || s.Results[len(s.Results)-1].Code != "agent_runs" || s.Verdict != doctor.Bad {
		t.Errorf("named %q", wrong)
	}
}

// A self-test asks nobody, makes no sound, and passes without a person.
func TestASelfTest(t *testing.T) {
	inBox(t, func(b *box) {
		var heard bool
		s, wrong := b.run()
		if b.pins["S"].Read() {
			heard = true
		}
		if len(wrong) != 0 || s.Verdict != doctor.Good || !s.SelfTest || heard || len(b.told) != 0 {
			t.Errorf("wrong %q, verdict %s, told %q", wrong, s.Verdict, b.told)
		}
	})
}

// Who skips, or is not there, makes it incomplete.
func TestSkipping(t *testing.T) {
	inBox(t, func(b *box) {
		b.o.Person = &doctor.Person{Answers: b.answers, Tell: func(id, _ string) {
			if id != "gps" && id != "siren" {
				b.answers <- doctor.Later
			}
		}}
		s, wrong := b.run()
		want := []string{"button:fire skipped", "button:panic skipped", "lamp:red skipped", "lamp:amber skipped", "lamp:green skipped", "siren nobody", "fingerprint skipped"}
		if !slices.Equal(wrong, want) || s.Verdict != doctor.Incomplete {
			t.Errorf("named %q, verdict %s", wrong, s.Verdict)
		}
	})
}

// A supply that was weak and a hot board are named.
func TestTheBoardsSensors(t *testing.T) {
	inBox(t, func(b *box) {
		write := func(path, text string) {
			path = b.o.Sensors.Root + "/" + path
			if err := errors.Join(os.MkdirAll(path[:strings.LastIndexByte(path, '/')], 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
				t.Fatal(err)
			}
		}
		write("sys/class/thermal/thermal_zone0/temp", "91000\n")
		write("sys/devices/platform/soc/soc:firmware/get_throttled", "50000\n")
		write("proc/device-tree/model", "Raspberry Pi Zero 2 W\x00")
		write("proc/device-tree/serial-number", "00000000abcd\x00")
		write("sys/block/mmcblk0/device/serial", "0x1234\n")
		write("sys/block/mmcblk0/device/name", "SD32G\n")
		s, wrong := b.run()
		if !slices.Equal(wrong, []string{"temperature hot", "supply supply_was_weak"}) || s.Model != "Raspberry Pi Zero 2 W" || s.Serial != "00000000abcd" || s.Card != "SD32G 0x1234" {
			t.Errorf("named %q; %q %q %q", wrong, s.Model, s.Serial, s.Card)
		}
	})
}
