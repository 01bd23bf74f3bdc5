// Package doctor commissions a device where it hangs: it walks through every
// port that the configuration names, with the drivers that the agent uses, and
// through what else must be right (storage, key, clock, supply, the centre), and
// makes a signed report of it.
//
// Each check has a time, and an outcome: pass, fail, skip (somebody did not want
// to, or was not there) or absent (the configuration has no such thing, or the
// board cannot tell). A failure has a code, which the words in both languages
// explain with what to do. A self-test asks nobody: it looks at lines at rest,
// and drives lamps, but makes no sound.
//
// It works while no agent runs: ports and spool are one program's. It changes
// nothing but the spool, where its test alarm and its report wait for the centre
// as everything else does, marked as a drill. It does not judge whether a box
// hangs well, or is heard across the valley.
package doctor

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/clock"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/wifi"
)

// A Status is the outcome of a check.
type Status string

// The outcomes.
const (
	Pass   Status = "pass"
	Fail   Status = "fail"
	Skip   Status = "skip"
	Absent Status = "absent"
)

// A Result is what a check found.
type Result struct {
	ID     string            `json:"id"` // what was looked at, such as "button:panic"
	Status Status            `json:"status"`
	Code   string            `json:"code"`             // what was found, such as "line_missing"
	Values map[string]string `json:"values,omitempty"` // measured, or an error's text
	Text   map[string]string `json:"text"`             // what was found and what to do, by language
}

// An Answer is what somebody said to a question.
type Answer int

// The answers.
const (
	Yes Answer = iota + 1
	No
	Later // skip this
)

// A Person stands before the device.
type Person struct {
	// Tell says what to do, or asks; id is the check's.
	Tell func(id, text string)
	// Answers are what the person said, whenever they did; Later ends a wait.
	Answers <-chan Answer
	// Hasty means that what was said before a question is no answer to it: a key
	// that was hit twice. Whoever sends a list of answers is not hasty.
	Hasty bool
}

// Options describe a run.
type Options struct {
	Config  *config.Config
	Line    func(name string) (gpio.PinIO, error) // nil: this machine's lines
	Dial    uplink.Dialer                         // nil: TCP
	Open    func(p *agent.Ports)                  // changes ports after they were opened, for tests; nil: no
	Clock   clock.Options
	Sensors hw.Sensors
	WiFi    func() (*wifi.State, error) // see agent.Options; nil: there is none
	Version string
	// Bare means that there is no device yet: neither centre nor identity.
	Bare       bool
	CheckSpool []string // see agent.Options
	Person     *Person  // nil: a self-test
	Lang       string   // of the report and of what the person is told
	By         string   // who commissions
	Done       func(Result)
	Log        *slog.Logger
}

// A session is one run of the checks.
type session struct {
	Options
	key   ed25519.PrivateKey
	clock *clock.Clock
	spool *spool.Spool
	link  *centreLink
	fix   *Fix // where the receiver says it is; nil: not known
	near  bool // a server could be reached
}

// A check looks at one thing.
type check struct {
	id     string
	within time.Duration
	run    func(ctx context.Context, s *session) outcome
}

// An outcome is a result without its words.
type outcome struct {
	status Status
	code   string
	values map[string]string
}

func found(s Status, code string, pairs ...string) outcome {
	o := outcome{s, code, nil}
	for i := 0; i+1 < len(pairs); i += 2 {
		if o.values == nil {
			o.values = make(map[string]string)
		}
		o.values[pairs[i]] = pairs[i+1]
	}
	return o
}

func failed(code string, err error) outcome { return found(Fail, code, "error", err.Error()) }

// Run runs the checks and returns the report, which is signed unless there is no
// key. The error is that of ctx: whatever else goes wrong is a result.
func Run(ctx context.Context, o Options) (*Signed, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Done == nil {
		o.Done = func(Result) {}
	}
	if o.Clock.Earliest.IsZero() {
		o.Clock.Earliest = agent.FirstRelease
	}
	s := &session{Options: o, clock: clock.New(o.Clock)}
	defer s.close()
	r := s.begin()
	for _, c := range s.checks() {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		res := s.result(ctx, c)
		r.Results = append(r.Results, res)
		o.Done(res)
		if res.Code == "agent_runs" {
			break // the ports are its
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return s.end(ctx, r)
}

func (s *session) result(ctx context.Context, c check) Result {
	ctx, cancel := context.WithTimeout(ctx, c.within)
	defer cancel()
	out := c.run(ctx, s)
	r := Result{ID: c.id, Status: out.status, Code: out.code, Values: out.values, Text: make(map[string]string)}
	for _, lang := range Langs() {
		values := maps.Clone(out.values)
		if source := values["source"]; source != "" { // of the time
			values["source"] = text(lang, "source."+source, nil)
		}
		r.Text[lang] = text(lang, "found."+out.code, values)
	}
	return r
}

func (s *session) close() {
	if s.link != nil {
		s.link.close()
	}
	if s.spool != nil {
		if err := s.spool.Close(); err != nil {
			s.Log.Error("spool", "err", err)
		}
	}
}

// checks lists what is looked at, in the order in which a technician would.
func (s *session) checks() (out []check) {
	add := func(id string, within time.Duration, run func(context.Context, *session) outcome) {
		out = append(out, check{id, within, run})
	}
	add("storage", time.Minute, checkStorage)
	if !s.Bare {
		add("key", 10*time.Second, checkKey)
		add("spool", 3*time.Minute, checkSpool)
	}
	add("temperature", 5*time.Second, checkTemperature)
	add("supply", 5*time.Second, checkSupply)
	c := s.Config
	for _, name := range slices.Sorted(maps.Keys(c.Buttons)) {
		add("button:"+name, s.patience(time.Minute), func(ctx context.Context, s *session) outcome { return s.button(ctx, name) })
	}
	for _, role := range config.InputRoles() {
		if _, ok := c.Inputs[role]; ok {
			add("input:"+role, 10*time.Second, func(ctx context.Context, s *session) outcome { return s.input(ctx, role) })
		}
	}
	for _, name := range []string{"red", "amber", "green"} {
		add("lamp:"+name, s.patience(time.Minute), func(ctx context.Context, s *session) outcome { return s.lamp(ctx, name) })
	}
	add("siren", s.patience(time.Minute), func(ctx context.Context, s *session) outcome { return s.siren(ctx) })
	add("voice", s.patience(time.Minute), func(ctx context.Context, s *session) outcome { return s.speak(ctx) })
	add("fingerprint", s.patience(time.Minute), func(ctx context.Context, s *session) outcome { return s.finger(ctx) })
	gps := time.Minute
	if s.Person != nil {
		gps = 5 * time.Minute // a cold start under a poor sky
	}
	add("gps", gps, func(ctx context.Context, s *session) outcome { return s.gps(ctx) })
	add("modem", modemWithin, func(ctx context.Context, s *session) outcome { return s.modem(ctx) })
	add("wifi", wifiWithin, func(ctx context.Context, s *session) outcome { return s.wifi(ctx) })
	if s.Bare {
		add("centre", time.Second, func(context.Context, *session) outcome { return found(Absent, "no_centre") })
	} else {
		for _, server := range c.Centre.Servers {
			add("server:"+string(server), 10*time.Second, func(ctx context.Context, s *session) outcome { return s.reach(ctx, string(server)) })
		}
		add("centre", 30*time.Second, func(ctx context.Context, s *session) outcome { return s.answered(ctx) })
		add("test_alarm", 40*time.Second, func(ctx context.Context, s *session) outcome { return s.testAlarm(ctx) })
	}
	add("clock", 5*time.Second, checkClock)
	return out
}

// patience is how long a check may take: longer where somebody must walk to it.
func (s *session) patience(person time.Duration) time.Duration {
	if s.Person == nil {
		return 15 * time.Second
	}
	return person
}

// ask asks the person and waits; nobody's answer is Later.
func (s *session) ask(ctx context.Context, id, question string, values map[string]string) Answer {
	s.drain()
	s.Person.Tell(id, text(s.Lang, "ask."+question, values))
	select {
	case a, ok := <-s.Person.Answers:
		if ok {
			return a
		}
		<-ctx.Done()
	case <-ctx.Done():
	}
	return Later
}

// drain forgets what was said before a question, by somebody hasty.
func (s *session) drain() {
	for s.Person.Hasty {
		select {
		case _, ok := <-s.Person.Answers:
			if ok {
				continue
			}
		default:
		}
		return
	}
}

// one returns the ports of a configuration that has only a part.
func (s *session) one(part func(c *config.Config)) (agent.Ports, error) {
	c := &config.Config{Device: s.Config.Device, Profile: s.Config.Profile, Data: s.Config.Data}
	part(c)
	p, err := agent.OpenPorts(c, s.Line)
	if err == nil && s.Open != nil {
		s.Open(&p)
	}
	return p, err
}

func hexKey(k ed25519.PrivateKey) string {
	if k == nil {
		return ""
	}
	return hex.EncodeToString(k.Public().(ed25519.PublicKey))
}

// late reports whether ctx has run out of time.
func late(ctx context.Context) bool { return errors.Is(ctx.Err(), context.DeadlineExceeded) }

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f", d.Seconds()) }
