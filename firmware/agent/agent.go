// Package agent is the firmware's heart: it composes the ports of a village
// alarm box or a patrol car (buttons, lamps, siren, satellite receiver,
// fingerprint reader) with the spool and the uplink.
//
// One goroutine, the loop, owns all of the agent's state; ports and uplink post
// work to it, presses before everything else. Whatever happens becomes an
// event that is durable in the spool before a lamp says so or anything leaves.
// Latched alarms and the signed-on officer are kept in the same commit as the
// event that changed them, so that a power cut never splits the two.
//
// The package opens no device path itself (firmware/internal/hw does), knows
// nothing of boards, and decides nothing for the centre: a latch is reset only
// by the centre's word or by an enrolled officer's finger.
package agent

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"periph.io/x/conn/v3/gpio"

	"github.com/fengsui/fengsui/firmware/button"
	"github.com/fengsui/fengsui/firmware/clock"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
	"github.com/fengsui/fengsui/firmware/group"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/lamp"
	"github.com/fengsui/fengsui/firmware/modem"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/terminal"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/voice"
	"github.com/fengsui/fengsui/firmware/wifi"
	"github.com/fengsui/fengsui/firmware/wire"
)

// An Opener opens a byte stream port. It is called again, with backoff, when
// the port fails.
type Opener func(ctx context.Context) (io.ReadWriteCloser, error)

// A Listener opens the address at which the officer's screen is served.
type Listener func() (net.Listener, error)

// A BaudOpener opens a serial port at a speed, again and again likewise.
type BaudOpener func(ctx context.Context, baud int) (io.ReadWriteCloser, error)

// An Air is the local network of the group, as a [group.Conn] is.
type Air interface {
	// Run calls take for each packet until ctx ends or the network fails, and
	// closes the Air.
	Run(ctx context.Context, take func(msg []byte)) error
	Send(msg []byte) error // to all of the group
}

// Ports are the agent's connections to the world. A nil port is absent.
type Ports struct {
	GPS Opener // NMEA 0183 from a satellite receiver
	// GPSAt opens the port of GPS at another speed than the configured one, to
	// find a receiver that is not set to it; nil: it is not searched for.
	GPSAt       BaudOpener
	Fingerprint BaudOpener             // a ZFM/R30x/R503 sensor
	Modem       Opener                 // a cellular modem's AT port
	Buttons     map[string]gpio.PinIn  // by name in the configuration
	Loops       map[string]button.Loop // supervised buttons, in place of Buttons
	Inputs      map[string]gpio.PinIn  // by role
	Lamps       map[string]gpio.PinOut // "red", "amber", "green"
	Siren       gpio.PinOut            // a siren's driver
	Voice       voice.Player           // a loudspeaker
	Terminal    Listener               // of the officer's screen
	Air         func() (Air, error)    // of a configured group; nil: UDP
	Dial        uplink.Dialer          // how to reach a broker; nil: TCP
	Clock       clock.Options          // the clock's surroundings; zero: this machine's
}

// Options are what differs between builds.
type Options struct {
	Version string       // the firmware's, as health reports it
	Log     *slog.Logger // nil: discarded
	// CheckSpool is the command, name and arguments, that checks a spool at the
	// start, in a process that may die of it: see [spool.CheckIn].
	CheckSpool []string
	// Notify takes READY=1, WATCHDOG=1, STOPPING=1, STATUS= and EXTEND_TIMEOUT_USEC=
	// of sd_notify(3), several as lines; nil: nobody watches. A sign of life is due once in NotifyEvery.
	Notify      func(state string) error
	NotifyEvery time.Duration
	Was         string // what is known of the run before: see WasHung
	// WiFi tells how it stands with the wireless network; nil, or telling nil: the
	// device has none. It does not wait for anybody.
	WiFi func() (*wifi.State, error)
	// BoardRoot is the folder below which proc and sys tell of the board, "/" by
	// default.
	BoardRoot string
}

// An Agent runs one device. Make it with New.
type Agent struct {
	cfg   *config.Config
	ports Ports
	opt   Options
	log   *slog.Logger
	key   ed25519.PrivateKey // nil until Run could load it, when the disk refused it to New
	clock *clock.Clock
	board hw.Sensors

	urgent chan func() // presses; the loop takes these first
	other  chan func() // everything else
	status atomic.Pointer[Status]

	outbox chan *text          // to the modem
	air    atomic.Pointer[Air] // to the group; nil: not now

	terminal *terminal.Terminal // nil: there is no screen

	// Set by Run before anything else starts, not changed after.
	spool  *spool.Spool
	uplink *uplink.Uplink
	lamps  *lamp.Driver
	reader *fingerprint.Reader // nil: none
	modem  *modem.Modem        // nil: none
	roster *fingers.Roster     // nil: none, or it cannot be read
	voice  *voice.Speaker      // nil: none

	// The rest is only touched by the loop.
	latches    map[string]*latch         // by button
	answered   map[answer]bool           // notices of alarms that are no longer latched
	officer    string                    // who is signed on, or ""
	sounds     map[alarmOf]*sounding     // for others' alarms
	soundRevs  map[alarmOf]uint64        // of the Sounds that were answered
	silenced   map[alarmOf]time.Duration // Mono at which it fell silent
	tells      map[wire.AlarmID]*telling // of our own alarms, to the group
	guard      *group.Guard              // nil: no group
	marks      map[string]*group.Mark    // of its members, as they were kept
	packets    uint64                    // sent to the group in this boot
	mode       mode
	texts      []*text           // presses that go by SMS unless they are acknowledged
	registered time.Duration     // Mono at which the modem last had a network
	faults     map[string]string // active faults: code → detail
	testKey    bool              // the technician's key makes tests of presses
	unsaved    unsaved
	restarted  time.Duration // Mono at which another stream was begun; 0: never
	stored     time.Duration // Mono at which the spool last took something
	started    wire.Started  // why this run began; "" once that is told
	batch      batcher
	tasks      map[uint64]*task  // by incident
	doing      doing             // what the unit says that it does
	overTasks  []uint64          // whose states are to be deleted
	photos     map[string]*photo // by id
	donePhotos []string          // whose states are to be deleted
	screens    int               // that show the device now
	pins       pinLock
	where      whereabouts
	spoken     words
	veiled     []place // of alarm events that nothing here may show, and no Ack covers
	finger     fingerState
	visit      visit         // of a guard round: the last one
	lost       time.Duration // Mono at which the centre was last known to be heard, or the start
	path       path          // where the device was, for its screen

	clerk     atomic.Pointer[fingers.Clerk] // for Fingers; nil: there is none
	enrolling sync.Mutex                    // held while fingers are changed
}

// FirstRelease is a time before which no device of ours ran.
var FirstRelease = time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)

// New checks the configuration against the ports and makes or loads the
// device's key, unless the disk refuses that.
func New(cfg *config.Config, ports Ports, opt Options) (*Agent, error) {
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	for name := range cfg.Buttons {
		if ports.Buttons[name] == nil && ports.Loops[name] == nil {
			return nil, fmt.Errorf("agent: button %q is configured but has no port", name)
		}
	}
	for role := range cfg.Inputs {
		if ports.Inputs[role] == nil {
			return nil, fmt.Errorf("agent: input %q is configured but has no port", role)
		}
	}
	key, err := LoadOrCreateKey(cfg.Data)
	if err != nil && !diskRefuses(err) {
		return nil, fmt.Errorf("agent: %w", err)
	} // else Run tries again
	if ports.Clock.Earliest.IsZero() {
		ports.Clock.Earliest = FirstRelease
	}
	a := &Agent{
		cfg: cfg, ports: ports, opt: opt, key: key,
		log:       opt.Log.With("device", cfg.Device),
		clock:     clock.New(ports.Clock),
		board:     hw.Sensors{Root: opt.BoardRoot},
		urgent:    make(chan func(), 64),
		other:     make(chan func(), 256),
		outbox:    make(chan *text, maxTexts),
		sounds:    make(map[alarmOf]*sounding),
		soundRevs: make(map[alarmOf]uint64),
		silenced:  make(map[alarmOf]time.Duration),
		tells:     make(map[wire.AlarmID]*telling),
		latches:   make(map[string]*latch),
		answered:  make(map[answer]bool),
		faults:    make(map[string]string),
		tasks:     make(map[uint64]*task),
		photos:    make(map[string]*photo),
	}
	a.status.Store(&Status{Device: cfg.Device})
	if cfg.Terminal != nil && ports.Terminal != nil {
		token, err := terminal.LoadOrCreateToken(cfg.Data)
		if err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
		screen := terminal.Options{Device: a.Screen(), Token: token, Inches: float64(cfg.Terminal.Diagonal), Log: a.log}
		if ports.Fingerprint != nil {
			screen.Fingers = a.Fingers()
		}
		a.terminal, err = terminal.New(screen)
		if err != nil {
			return nil, fmt.Errorf("agent: %w", err)
		}
	}
	return a, nil
}

// SpoolPath returns where a device keeps its spool.
func SpoolPath(cfg *config.Config) string { return filepath.Join(cfg.Data, "spool.db") }

// Run runs the device until ctx ends or a part of it cannot go on. It returns
// only when everything that it started has stopped; nil after ctx ended. While
// the disk refuses the start, the lamps show a fault and Run tries again.
func (a *Agent) Run(ctx context.Context) (err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var parts sync.WaitGroup
	defer parts.Wait()
	defer stop(nil)
	start := func(name string, run func(context.Context) error) {
		parts.Go(func() {
			if err := run(ctx); err != nil && ctx.Err() == nil {
				stop(fmt.Errorf("agent: %s: %w", name, err))
			}
		})
	}
	a.lamps = lamp.New(a.lampOutputs(ctx), a.log)
	start("lamps", a.lamps.Run)
	if a.voice = a.speaker(ctx); a.voice != nil {
		start("voice", a.voice.Run)
	}
	// What is pressed while the disk refuses waits for the loop.
	for name := range a.cfg.Buttons {
		start("button "+name, func(ctx context.Context) error { a.watchButton(ctx, name); return nil })
	}
	refused, err := a.awaitDisk(ctx)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	if ctx.Err() != nil {
		return why(ctx)
	}
	if a.ports.Fingerprint != nil {
		defer a.openFingers()()
	}
	defer func() { parts.Wait(); err = errors.Join(err, a.spool.Close()) }()
	defer stop(nil)
	if err := a.restore(); err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	a.started, a.stored = a.begin(), a.clock.Mono()
	defer func() {
		if err == nil {
			a.end()
		}
	}()
	a.uplink, err = uplink.New(a.uplinkOptions(ctx))
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}

	if a.ports.Modem != nil {
		a.modem = a.newModem(ctx)
	}
	if a.cfg.Group != nil {
		a.guard = a.newGuard()
	}

	a.log.Info("running", "key", hex.EncodeToString(a.key.Public().(ed25519.PublicKey)), "version", a.opt.Version,
		"stream", a.spool.Stream(), "boot", a.spool.Boot(), "up", a.clock.Mono(), "started", a.started)

	start("uplink", a.uplink.Run)
	for role := range a.cfg.Inputs {
		start("input "+role, func(ctx context.Context) error { a.watchInput(ctx, role); return nil })
	}
	if a.ports.GPS != nil {
		start("gps", func(ctx context.Context) error { a.watchGPS(ctx); return nil })
	}
	if a.guard != nil {
		start("group", func(ctx context.Context) error { a.watchGroup(ctx); return nil })
	}
	if a.modem != nil {
		start("modem", func(ctx context.Context) error { a.watchModem(ctx); return nil })
		start("SMS", func(ctx context.Context) error { a.sendOutbox(ctx); return nil })
	}
	if a.ports.Fingerprint != nil {
		start("fingerprint", func(ctx context.Context) error { a.watchFingerprint(ctx); return nil })
	}
	if a.terminal != nil {
		start("terminal", func(ctx context.Context) error { a.serveTerminal(ctx); return nil })
	}
	a.loop(ctx, refused)
	return why(ctx)
}

// why returns why ctx ended: nil when Run's caller ended it.
func why(ctx context.Context) error {
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) && !errors.Is(cause, context.DeadlineExceeded) {
		return cause
	}
	return nil
}

// loop owns the agent's state. refused is what awaitDisk returned.
func (a *Agent) loop(ctx context.Context, refused string) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	health := time.NewTicker(time.Duration(a.cfg.Health.Every))
	defer health.Stop()
	every := a.opt.NotifyEvery
	if every <= 0 {
		every = time.Minute
	}
	life := time.NewTicker(every)
	defer life.Stop()
	a.lost = a.clock.Mono()
	a.tellStarted()
	if refused != "" {
		a.faultBegan(faultRefused, refused)
	}
	a.tellAgain()
	a.resetDrills()
	a.soundsBefore()
	a.startFingers()
	a.heartbeat()
	a.tell("READY=1")
	defer a.tell("STOPPING=1")
	for {
		a.show()
		select { // presses first
		case f := <-a.urgent:
			f()
			continue
		default:
		}
		select {
		case <-ctx.Done():
			a.flushTrack(true)
			return
		case f := <-a.urgent:
			f()
		case f := <-a.other:
			f()
		case <-tick.C:
			a.hearCentre()
			a.retryUnsaved()
			a.sendTexts()
			a.tellGroup()
			a.endSounds()
			a.endMode()
			a.checkSpool()
			a.tellGiven()
			a.checkGPS()
			a.checkFingerLock()
			a.flushTrack(false)
			a.forgetTasks()
			a.sendPhotos()
		case <-health.C:
			a.heartbeat()
		case <-life.C:
			a.signOfLife()
		}
	}
}

// post hands work to the loop; it gives up when ctx ends.
func (a *Agent) post(ctx context.Context, to chan func(), f func()) {
	select {
	case to <- f:
	case <-ctx.Done():
	}
}
