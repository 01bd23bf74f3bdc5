package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/boards/speech"
	"github.com/fengsui/fengsui/firmware/button"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/voice"
)

const (
	hwUnder    = hw.UnderVoltage
	hwUnderWas = hw.UnderVoltageWas
)

// restFor is how long a line is watched at rest: longer than a stuck button, a
// cut cable or a chattering contact takes to be told.
const restFor = time.Second

// button watches a button, at rest or until it has been pressed and let go.
func (s *session) button(ctx context.Context, name string) outcome {
	b := s.Config.Buttons[name]
	ports, err := s.one(func(c *config.Config) { c.Buttons = map[string]config.Button{name: b} })
	if err != nil {
		return failed("line_missing", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	kinds, done := make(chan button.Kind, 16), make(chan struct{})
	tell := func(k button.Kind) {
		select {
		case kinds <- k:
		case <-ctx.Done():
		}
	}
	go func() {
		defer close(done)
		if l := ports.Loops[name]; l != nil {
			button.WatchLoop(ctx, l, button.Timing{}, tell, nil)
			return
		}
		button.Watch(ctx, ports.Buttons[name], gpio.Level(b.Active == "high"), button.Timing{}, tell)
	}()
	defer func() { cancel(); <-done }()
	rest := time.NewTimer(restFor)
	defer rest.Stop()
	var answers <-chan Answer
	pressed := false
	for {
		select {
		case k := <-kinds:
			codes := map[button.Kind]string{
				button.Stuck: "button_stuck", button.Noisy: "button_noisy", button.Cut: "cable_cut",
				button.Shorted: "cable_short", button.Unread: "cable_unread",
			}
			switch code := codes[k]; {
			case code != "":
				return found(Fail, code)
			case k == button.Pressed && answers == nil:
				return found(Fail, "button_stuck") // nobody was asked to
			case k == button.Pressed:
				pressed = true
			case k == button.Released && pressed:
				return found(Pass, "button_pressed")
			}
		case <-rest.C:
			if s.Person == nil {
				return found(Pass, "button_rests")
			}
			s.drain()
			answers = s.Person.Answers
			s.Person.Tell("button:"+name, text(s.Lang, "ask.press", map[string]string{"name": name}))
		case a, ok := <-answers:
			if !ok {
				answers = make(chan Answer)
			} else if a != Yes {
				return found(Skip, "skipped")
			}
		case <-ctx.Done():
			if pressed {
				return found(Fail, "button_stuck")
			}
			return found(Fail, "button_unpressed")
		}
	}
}

// input reads an input at rest: tripped is a failure, the box being in order.
func (s *session) input(ctx context.Context, role string) outcome {
	in := s.Config.Inputs[role]
	ports, err := s.one(func(c *config.Config) { c.Inputs = map[string]config.Input{role: in} })
	if err != nil {
		return failed("line_missing", err)
	}
	c := button.NewContact(300 * time.Millisecond)
	for start := time.Now(); time.Since(start) < restFor; sleep(ctx, 20*time.Millisecond) {
		c.Read(time.Since(start), ports.Inputs[role].Read() == gpio.Level(in.Active == "high"))
	}
	if c.On() {
		return found(Fail, "input_"+role)
	}
	return found(Pass, "input_rests")
}

// drive drives an output for as long as during lasts, and off after it.
func drive(pin gpio.PinOut, active string, during func()) error {
	on := gpio.Level(active != "low")
	err := pin.Out(on)
	if err == nil {
		during()
	}
	return errors.Join(err, pin.Out(!on))
}

func (s *session) lamp(ctx context.Context, name string) outcome {
	l := s.Config.Lamps.ByName()[name]
	if l == nil {
		return found(Absent, "not_configured")
	}
	ports, err := s.one(func(c *config.Config) {
		switch name {
		case "red":
			c.Lamps.Red = l
		case "amber":
			c.Lamps.Amber = l
		default:
			c.Lamps.Green = l
		}
	})
	if err != nil {
		return failed("line_missing", err)
	}
	return s.output(ctx, "lamp:"+name, ports.Lamps[name], l.Active, "lit", 300*time.Millisecond)
}

func (s *session) siren(ctx context.Context) outcome {
	c := s.Config.Siren
	if c == nil {
		return found(Absent, "not_configured")
	}
	ports, err := s.one(func(one *config.Config) { one.Siren = c })
	if err != nil {
		return failed("line_missing", err)
	}
	if s.Person == nil { // makes no sound
		if err := ports.Siren.Out(c.Active == "low"); err != nil {
			return failed("not_driven", err)
		}
		return found(Pass, "siren_silent")
	}
	return s.output(ctx, "siren", ports.Siren, c.Active, "sounded", time.Second)
}

// output drives an output and asks whether that was seen or heard.
func (s *session) output(ctx context.Context, id string, pin gpio.PinOut, active, question string, lasts time.Duration) outcome {
	answer := Answer(0)
	err := drive(pin, active, func() {
		if s.Person != nil && question == "lit" {
			answer = s.ask(ctx, id, question, nil) // it burns until they have looked
			return
		}
		sleep(ctx, lasts)
	})
	if err != nil {
		return failed("not_driven", err)
	}
	if s.Person == nil {
		return found(Pass, "driven")
	}
	if answer == 0 {
		answer = s.ask(ctx, id, question, nil)
	}
	return answerTo(ctx, answer, "seen", "not_seen")
}

func answerTo(ctx context.Context, a Answer, yes, no string) outcome {
	switch {
	case a == Yes:
		return found(Pass, yes)
	case a == No:
		return found(Fail, no)
	case late(ctx):
		return found(Skip, "nobody")
	}
	return found(Skip, "skipped")
}

func (s *session) speak(ctx context.Context) outcome {
	c := s.Config.Audio
	if c == nil {
		return found(Absent, "not_configured")
	}
	for _, p := range speech.Prompts() {
		if _, err := voice.Load(speech.File(c.Dir, c.Lang, p)); err != nil {
			return failed("speech_missing", err)
		}
	}
	if s.Person == nil {
		return found(Pass, "speech_there")
	}
	ports, err := s.one(func(one *config.Config) { one.Audio = c })
	if err == nil {
		var sound voice.Sound
		if sound, err = voice.Load(speech.File(c.Dir, c.Lang, "drill")); err == nil {
			err = ports.Voice(ctx, sound)
		}
	}
	if err != nil {
		return failed("no_sound", err)
	}
	return answerTo(ctx, s.ask(ctx, "voice", "spoken", nil), "seen", "not_seen")
}

// readerMute is how long a sensor may say nothing before it is looked for at
// other speeds.
const readerMute = 8 * time.Second

// finger waits until the reader works, and then for an enrolled finger.
func (s *session) finger(ctx context.Context) outcome {
	f := s.Config.Fingerprint
	if f == nil {
		return found(Absent, "not_configured")
	}
	ports, err := s.one(func(c *config.Config) { c.Fingerprint = f })
	if err != nil {
		return failed("reader_lost", err)
	}
	opt := fingerprint.Options{Password: f.Password, MinScore: f.MinScore, NoRing: f.Ring != nil && !*f.Ring, Log: s.Log}
	if f.OwnPassword != nil && *f.OwnPassword {
		roster, err := fingers.Open(s.Config.Data, f.Officers)
		if err != nil {
			return failed("roster_bad", err)
		}
		defer roster.Close()
		if opt.Secret, err = roster.Secret(); err != nil {
			return failed("roster_bad", err)
		}
	}
	port, err := ports.Fingerprint(ctx, f.Baud)
	if err != nil {
		return failed("port_shut", err)
	}
	whole := ctx
	ctx, cancel := context.WithCancel(ctx)
	events, ended := make(chan fingerprint.Event, 16), make(chan error, 1)
	go func() {
		ended <- fingerprint.NewReader(opt).Run(ctx, port, func(e fingerprint.Event) {
			select {
			case events <- e:
			case <-ctx.Done():
			}
		})
	}()
	over := false
	defer func() {
		cancel()
		if !over {
			<-ended
		}
	}()
	// silent looks for a sensor at other speeds, as the agent does.
	silent := func(err error) outcome {
		if cancel(); !over {
			over = true
			<-ended
		}
		baud, ferr := fingerprint.FindBaud(whole, ports.Fingerprint, f.Baud, fingerprint.Options{Password: f.Password})
		if ferr != nil {
			return failed("reader_lost", err)
		}
		return found(Fail, "reader_baud", "baud", fmt.Sprint(baud), "configured", fmt.Sprint(f.Baud))
	}
	patience := time.NewTimer(readerMute)
	defer patience.Stop()
	ready := false
	var answers <-chan Answer
	for {
		select {
		case err := <-ended:
			over = true
			switch {
			case errors.Is(err, fingerprint.ErrPassword):
				return failed("reader_password", err)
			case err == nil:
				err = errors.New("ended")
			case !ready && errors.Is(err, fingerprint.ErrTimeout):
				return silent(err)
			}
			return failed("reader_lost", err)
		case e := <-events:
			switch e.Kind {
			case fingerprint.Ready:
				if ready = true; s.Person == nil {
					return found(Pass, "reader_ready")
				}
				s.drain()
				answers = s.Person.Answers
				s.Person.Tell("fingerprint", text(s.Lang, "ask.finger", nil))
			case fingerprint.Matched:
				return found(Pass, "finger_known", "slot", fmt.Sprint(e.Match.Slot))
			case fingerprint.Stuck:
				return found(Fail, "reader_covered")
			case fingerprint.NoMatch, fingerprint.Weak, fingerprint.Unreadable:
				s.tell("fingerprint", "ask.finger_again")
			}
		case <-patience.C:
			if !ready {
				return silent(fingerprint.ErrTimeout)
			}
		case a, ok := <-answers:
			if !ok {
				answers = make(chan Answer)
			} else if a != Yes {
				return found(Skip, "skipped")
			}
		case <-ctx.Done():
			if !ready {
				return found(Fail, "reader_lost", "error", "no answer")
			}
			return found(Fail, "finger_unknown")
		}
	}
}

func (s *session) tell(id, key string) {
	if s.Person != nil {
		s.Person.Tell(id, text(s.Lang, key, nil))
	}
}

// A Fix is where a receiver says the device is.
type Fix struct {
	Lat  float64 `json:"lat"` // degrees, WGS 84
	Lon  float64 `json:"lon"`
	HDOP float64 `json:"hdop"` // 0: not given
}

// gpsMute is how long a receiver may say nothing: they speak each second.
const gpsMute = 10 * time.Second

// gps waits for three fixes.
func (s *session) gps(ctx context.Context) outcome {
	g := s.Config.GPS
	if g == nil {
		return found(Absent, "not_configured")
	}
	ports, err := s.one(func(c *config.Config) { c.GPS = g })
	if err != nil {
		return failed("gps_lost", err)
	}
	began := time.Now()
	port, err := ports.GPS(ctx)
	if err != nil {
		return failed("port_shut", err)
	}
	s.tell("gps", "ask.gps")
	r := gps.ReceiverByName(g.Receiver)
	code := s.listen(ctx, port, r)
	if (code.code == "gps_mute" || code.code == "gps_garbled") && r != nil && ports.GPSAt != nil {
		if _, err := r.Hurry(ctx, ports.GPSAt, g.Baud); err != nil {
			return failed("gps_mute", err)
		}
		if port, err = ports.GPS(ctx); err != nil {
			return failed("port_shut", err)
		}
		code = s.listen(ctx, port, r)
	}
	if code.status == Pass {
		code.values["seconds"] = seconds(time.Since(began))
	}
	return code
}

// listen reads a port until there is an outcome, and closes it.
func (s *session) listen(ctx context.Context, port io.ReadWriteCloser, r *gps.Receiver) outcome {
	ctx, cancel := context.WithCancel(ctx)
	mute := time.AfterFunc(gpsMute, func() { port.Close() })
	defer mute.Stop()
	defer context.AfterFunc(ctx, func() { port.Close() })()
	defer port.Close()
	answers, setup := make(chan gps.Answer, 16), make(chan string, 1)
	if r == nil {
		setup <- ""
	} else {
		go func() {
			refused := ""
			if failed, _ := r.SetUp(ctx, port, s.Config.GPS.Rate, answers); len(failed) > 0 {
				refused = failed[0].Section
			}
			setup <- refused
		}()
	}
	defer func() { cancel(); port.Close(); <-setup }()
	heard, antenna := false, gps.AntennaUntold
	bytes := &counter{Reader: port}
	d := gps.NewListener(bytes, func(h gps.Heard) {
		if h.Answer != nil {
			select {
			case answers <- *h.Answer:
			default:
			}
		}
		if h.Sentence != "" {
			heard = true
			mute.Reset(gpsMute)
		}
		if h.Antenna != gps.AntennaUntold {
			antenna = h.Antenna
		}
	})
	for fixes := 0; ; {
		f, err := d.Next()
		bad := antenna == gps.AntennaShort || antenna == gps.AntennaOpen && s.Config.GPS.Antenna != config.Passive
		switch {
		case bad && (err != nil || fixes > 0):
			return found(Fail, "antenna_"+antenna.String())
		case err != nil && !heard && bytes.n > 0 && (!mute.Stop() || ctx.Err() != nil):
			return found(Fail, "gps_garbled", "bytes", fmt.Sprint(bytes.n), "baud", fmt.Sprint(s.Config.GPS.Baud))
		case err != nil && !heard && !mute.Stop():
			return found(Fail, "gps_mute", "error", gps.ErrMute.Error())
		case err != nil && heard:
			return found(Fail, "gps_no_fix")
		case err != nil:
			return failed("gps_lost", err)
		}
		if f.Active && !f.Time.IsZero() {
			s.clock.OfferGNSS(f.Time)
		}
		if fixes++; fixes < 3 {
			continue
		}
		if r != nil {
			refused := <-setup
			setup <- ""
			if refused != "" {
				return found(Fail, "gps_setup", "error", refused)
			}
		}
		s.fix = &Fix{f.Lat, f.Lon, f.HDOP}
		return found(Pass, "gps_fix", "lat", fmt.Sprintf("%.6f", f.Lat), "lon", fmt.Sprintf("%.6f", f.Lon),
			"hdop", fmt.Sprintf("%.1f", f.HDOP), "satellites", fmt.Sprint(f.Used))
	}
}

// A counter counts what it reads.
type counter struct {
	io.Reader
	n int
}

func (c *counter) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.n += n
	return n, err
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
