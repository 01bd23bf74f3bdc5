// Package modemtest emulates a cellular modem at its serial port, in PDU mode
// (3GPP TS 27.005 and 27.007), with faults that can be switched on, and the
// network behind it. It is for tests and for the simulator; no firmware imports
// it.
package modemtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/warthog618/sms/encoding/pdumode"
	"github.com/warthog618/sms/encoding/tpdu"
)

// Places is how many messages the SIM has room for.
const Places = 10

// Faults are what is wrong with a modem; the zero value is nothing.
type Faults struct {
	SIM       string        // "": ready; "absent", "pin", "puk", "failed"
	NoNetwork bool          // no network takes it
	Refuse    int           // it refuses to send with +CMS ERROR of this number; 0: it sends
	Garbage   bool          // noise stands before each of its lines
	Mute      bool          // it answers nothing
	Delay     time.Duration // before each answer
	LoseCMTI  bool          // it does not tell of new messages
	Direct    bool          // it hands new messages over at once, whatever +CNMI says
	NoPrompt  bool          // it asks for no PDU
	SlowPIN   time.Duration // before its answer to a PIN
}

// A Modem is an emulated modem with a SIM. Its methods may be called from any
// goroutine.
type Modem struct {
	Number   string // of the SIM, international
	Operator string // "": "CMCC"
	PIN      string // of the SIM; "": none
	Card     string // the SIM's number (ICCID); "": it does not tell
	Counts   bool   // it tells how many tries of the PIN are left
	net      *Network

	mu     sync.Mutex
	faults Faults
	out    io.Writer // nil: nobody is connected
	echo   bool
	tell   bool // of new messages
	cmee   bool // errors have numbers
	places map[int][]byte
	full   [][]byte // waits for a place
	given  bool     // the PIN was
	wrong  int      // PINs
	signal int      // rsrp
	log    []string
	sent   int // messages
}

// New returns a modem whose number is attached to a network.
func New(number string, net *Network) *Modem {
	m := &Modem{Number: number, net: net, echo: true, places: make(map[int][]byte), signal: 54}
	net.Attach(number, m.deliver)
	return m
}

// Set switches faults.
func (m *Modem) Set(f Faults) {
	m.mu.Lock()
	m.faults = f
	m.mu.Unlock()
	m.net.Cut(m.Number, f.NoNetwork)
}

// Served reports whether it has a network.
func (m *Modem) Served() bool { return m.net.Serves(m.Number) }

// Log returns the commands that it was given, without AT.
func (m *Modem) Log() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.log)
}

// Kept returns how many messages its SIM holds.
func (m *Modem) Kept() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.places)
}

// Restart forgets what a modem forgets without power; the SIM keeps its
// messages.
func (m *Modem) Restart() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.restart()
}

func (m *Modem) restart() { m.echo, m.tell, m.cmee, m.given = true, false, false, false }

// Change puts another SIM in, which holds no messages and has all its tries, and
// restarts the modem, as modems do then.
func (m *Modem) Change(card, pin string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.Card, m.PIN, m.wrong = card, pin, 0
	clear(m.places)
	m.restart()
}

// Wrong has the SIM count so many wrong PINs; the third locks it.
func (m *Modem) Wrong(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.wrong = n
}

// PINs returns the PINs that it was given, in their order.
func (m *Modem) PINs() (given []string) {
	for _, c := range m.Log() {
		if pin, ok := strings.CutPrefix(c, "+CPIN="); ok {
			given = append(given, strings.Trim(pin, `"`))
		}
	}
	return given
}

// Serve answers at a port until reading fails; the error is that.
func (m *Modem) Serve(port io.ReadWriter) error {
	m.mu.Lock()
	m.out = port
	m.mu.Unlock()
	defer func() {
		m.mu.Lock()
		m.out = nil
		m.mu.Unlock()
	}()
	in := bufio.NewReader(port)
	var line []byte
	for {
		c, err := in.ReadByte()
		if err != nil {
			return err
		}
		switch c {
		case '\r', '\n':
			if len(line) > 0 {
				cmd := string(line)
				line = line[:0]
				if err := m.command(cmd, in); err != nil {
					return err
				}
			}
		case 0x1b: // escape, of nothing
			line = line[:0]
		default:
			if len(line) < 1024 {
				line = append(line, c)
			}
		}
	}
}

func (m *Modem) command(line string, in *bufio.Reader) error {
	m.mu.Lock()
	f := m.faults
	if m.echo && !f.Mute {
		m.write(line + "\r\n")
	}
	cmd, ok := strings.CutPrefix(strings.ToUpper(line), "AT")
	if ok {
		m.log = append(m.log, cmd)
	}
	m.mu.Unlock()
	if strings.HasPrefix(cmd, "+CPIN=") {
		f.Delay += f.SlowPIN
	}
	if f.Delay > 0 {
		time.Sleep(f.Delay)
	}
	if !ok || f.Mute {
		return nil
	}
	if n, ok := strings.CutPrefix(cmd, "+CMGS="); ok {
		return m.submit(n, in, f)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, l := range m.answer(cmd, f) {
		if strings.HasPrefix(l, "+CME ERROR") && !m.cmee {
			l = "ERROR"
		}
		if f.Garbage {
			m.write("\x00\xff~}#\r\n")
		}
		m.write("\r\n" + l + "\r\n")
	}
	return nil
}

// write sends to whoever is connected. The caller holds mu.
func (m *Modem) write(s string) {
	if m.out != nil {
		_, _ = io.WriteString(m.out, s) // a reader that is gone hears nothing
	}
}

func one(lines ...string) []string { return lines }

// answer returns the lines of an answer. The caller holds mu.
func (m *Modem) answer(cmd string, f Faults) []string {
	switch cmd {
	case "", "Z", "E1", "+CMGF=0", "+COPS=3,0", "+CREG=0", "+CSMS=0":
		m.echo = m.echo || cmd == "E1" || cmd == "Z"
		return one("OK")
	case "+CMEE=1":
		m.cmee = true
		return one("OK")
	case "+CMEE?":
		return one(fmt.Sprintf("+CMEE: %d", map[bool]int{true: 1}[m.cmee]), "OK")
	case "+CCID":
		if m.Card == "" {
			return one("ERROR")
		}
		return one("+CCID: "+m.Card, "OK")
	case `+CPINR="SIM PIN"`:
		if !m.Counts {
			return one("ERROR")
		}
		return one(fmt.Sprintf("+CPINR: SIM PIN,%d,3", 3-m.wrong), "OK")
	case "E0":
		m.echo = false
		return one("OK")
	case "+CPIN?":
		return m.pin(f)
	}
	if pin, ok := strings.CutPrefix(cmd, "+CPIN="); ok {
		if strings.Trim(pin, `"`) == m.PIN && m.wrong < 3 {
			m.given, m.wrong = true, 0
			return one("OK")
		}
		m.wrong++
		return one("+CME ERROR: 16") // incorrect password
	}
	if ready := m.pin(f); ready[0] != "+CPIN: READY" {
		return ready[len(ready)-1:]
	}
	served := !f.NoNetwork && m.net.Serves(m.Number)
	reg := map[bool]string{true: "0,1", false: "0,2"}[served]
	switch {
	case cmd == "+CREG?", cmd == "+CGREG?", cmd == "+CEREG?":
		return one(strings.TrimSuffix(cmd, "?")+": "+reg, "OK")
	case cmd == "+COPS?" && !served:
		return one("+COPS: 0", "OK")
	case cmd == "+COPS?":
		name := m.Operator
		if name == "" {
			name = "CMCC"
		}
		return one(fmt.Sprintf("+COPS: 0,0,%q,7", name), "OK")
	case cmd == "+CSQ":
		return one("+CSQ: 99,99", "OK")
	case cmd == "+CESQ" && served:
		return one(fmt.Sprintf("+CESQ: 99,99,255,255,20,%d", m.signal), "OK")
	case cmd == "+CESQ":
		return one("+CESQ: 99,99,255,255,255,255", "OK")
	case strings.HasPrefix(cmd, "+CNMI="):
		m.tell = strings.HasPrefix(cmd, "+CNMI=2,1")
		return one("OK")
	case cmd == "+CMGL=4":
		var lines []string
		for _, at := range slices.Sorted(maps.Keys(m.places)) {
			b := m.places[at]
			lines = append(lines, fmt.Sprintf("+CMGL: %d,0,,%d", at, len(b)), pdu(b))
		}
		return append(lines, "OK")
	case strings.HasPrefix(cmd, "+CMGD="):
		at, err := strconv.Atoi(cmd[len("+CMGD="):])
		if err != nil {
			return one("+CMS ERROR: 321") // invalid memory index
		}
		delete(m.places, at)
		m.keep()
		return one("OK")
	}
	return one("ERROR")
}

func (m *Modem) pin(f Faults) []string {
	switch {
	case f.SIM == "absent":
		return one("+CME ERROR: 10")
	case f.SIM == "failed":
		return one("+CME ERROR: 13")
	case f.SIM == "puk", m.wrong >= 3:
		return one("+CPIN: SIM PUK", "+CME ERROR: 12")
	case f.SIM == "pin", m.PIN != "" && !m.given:
		return one("+CPIN: SIM PIN", "OK")
	}
	return one("+CPIN: READY", "OK")
}

func pdu(tp []byte) string {
	b, err := (&pdumode.PDU{TPDU: tp}).MarshalHexString()
	if err != nil {
		panic(err) // it has no service centre's address to be wrong
	}
	return b
}

// submit takes the PDU behind +CMGS=n and sends it.
func (m *Modem) submit(n string, in *bufio.Reader, f Faults) error {
	say := func(s string) {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.write(s)
	}
	if f.NoPrompt {
		return nil
	}
	say("\r\n> ")
	var text []byte
	for {
		c, err := in.ReadByte()
		if err != nil {
			return err
		}
		if c == 0x1b {
			say("\r\nOK\r\n")
			return nil
		}
		if c == 0x1a {
			break
		}
		text = append(text, c)
	}
	to, data, err := submitted(strings.TrimSpace(string(text)), n)
	m.mu.Lock()
	ready := m.pin(f)[0] == "+CPIN: READY"
	m.mu.Unlock()
	switch {
	case err != nil:
		say("\r\n+CMS ERROR: 304\r\n") // invalid PDU mode parameter
	case !ready:
		say("\r\n+CMS ERROR: 310\r\n") // SIM not inserted
	case f.Refuse != 0:
		say(fmt.Sprintf("\r\n+CMS ERROR: %d\r\n", f.Refuse))
	case f.NoNetwork || m.net.Send(m.Number, to, data) != nil:
		say("\r\n+CMS ERROR: 331\r\n") // no network service
	default:
		m.mu.Lock()
		m.sent++
		ref := m.sent % 256
		m.mu.Unlock()
		say(fmt.Sprintf("\r\n+CMGS: %d\r\n\r\nOK\r\n", ref))
	}
	return nil
}

// submitted takes an SMS-SUBMIT apart.
func submitted(text, n string) (to string, data []byte, err error) {
	p, err := pdumode.UnmarshalHexString(text)
	if err != nil {
		return "", nil, err
	}
	if n != strconv.Itoa(len(p.TPDU)) {
		return "", nil, fmt.Errorf("length %s of a TPDU of %d bytes", n, len(p.TPDU))
	}
	tp := tpdu.TPDU{Direction: tpdu.MO}
	if err := tp.UnmarshalBinary(p.TPDU); err != nil {
		return "", nil, err
	}
	if a, err := tp.Alphabet(); err != nil || a != tpdu.Alpha8Bit || len(tp.UD) > 140 {
		return "", nil, errors.New("not 8-bit data of at most 140 bytes")
	}
	return tp.DA.Number(), tp.UD, nil
}

// Deliver hands a PDU to the modem as the network would.
func (m *Modem) Deliver(tp []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.faults.Direct && m.out != nil {
		m.write(fmt.Sprintf("\r\n+CMT: ,%d\r\n%s\r\n", len(tp), pdu(tp)))
		return
	}
	m.full = append(m.full, tp)
	m.keep()
}

// keep brings what waits to the SIM, as far as there is room. The caller holds
// mu.
func (m *Modem) keep() {
	for at := 1; at <= Places && len(m.full) > 0; at++ {
		if m.places[at] != nil {
			continue
		}
		m.places[at], m.full = m.full[0], m.full[1:]
		if m.tell && !m.faults.LoseCMTI && !m.faults.Mute {
			m.write(fmt.Sprintf("\r\n+CMTI: \"SM\",%d\r\n", at))
		}
	}
}

func (m *Modem) deliver(from string, data []byte) {
	tp, err := tpdu.NewDeliver(tpdu.WithOA(tpdu.NewAddress(tpdu.FromNumber(from))), tpdu.Dcs8BitData)
	if err != nil {
		panic(err) // constant options
	}
	tp.SetUD(data)
	tp.SCTS = tpdu.Timestamp{Time: time.Now()}
	b, err := tp.MarshalBinary()
	if err != nil {
		panic(fmt.Sprintf("modemtest: SMS from %q of %d bytes: %v", from, len(data), err))
	}
	m.Deliver(b)
}
