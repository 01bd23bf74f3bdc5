// Package sim is the sim command, callable from Go with its own arguments and
// streams: a simulated district in which everything but the emulated ports is
// the code that ships.
//
// The command is one parent process; the centre and every device are child
// processes of it (the same binary again), so that a power cut is a SIGKILL.
// It composes; the work is done by the packages below this one, and the format
// of scenarios is described in package scenario.
//
// Output: results go to stdout; what happens goes to stderr, errors as
// "sim: …", one a line. The exit status is 0; 1 when the work failed or an
// expectation of a scenario did not hold; 2 when the arguments or the scenario
// are wrong.
package sim

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fengsui/fengsui/boards/image"
	"github.com/fengsui/fengsui/boards/strictyaml"
	"github.com/fengsui/fengsui/cloud-bridge/bridge"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/sim/bench"
	"github.com/fengsui/fengsui/sim/child"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/scenario"
)

const usage = `usage: sim COMMAND

  up                        run the centre, six alarm boxes and three cars until interrupted
      --desk-addr HOST:PORT   the dispatch desk (127.0.0.1:8080)
      --sim-addr HOST:PORT    the simulator's own page and API (127.0.0.1:8081)
      --data DIR              keep everything there (default: a new folder, removed at the end)
      --district FILE         other devices: a YAML file with devices, as in a scenario
      --virtual-board         one more box: a whole board in QEMU, which runs the very image (wants the source)
  run SCENARIO.yaml         play a scenario; exit 0 only if all that it expects holds
      --report FILE           write what came of it as JSON
      --desk-addr HOST:PORT   where the desk listens meanwhile (a free port of 127.0.0.1)
      --data DIR              keep everything there (default: a new folder, removed at the end)
  bench SCENARIO.yaml       play a scenario to a real device, whose buttons, lamps and serial ports are wired to this machine
      --wiring FILE           what is wired to what (go doc github.com/fengsui/fengsui/sim/bench)
      --mqtt-addr HOST:PORT   where the device reaches the centre: an address of this machine
      --data DIR              keep everything there, the centre's key too, which the device has to know
      --report, --desk-addr   as above
      --wait 10m              how long the device may take to say hello
  check SCENARIO.yaml…      say whether scenarios are well formed
                            (the format: go doc github.com/fengsui/fengsui/sim/scenario)
  reader                    play a fingerprint sensor on a terminal, for any driver; prints the path. It reads
                            lay N, lift, break FAULT, once FAULT and log
      --slots 1,2 --password N   what it has in its flash
  version
`

//go:embed district.yaml
var districtYAML []byte

// The hidden first arguments of children.
const (
	deviceChild = "__device"
	centreChild = "__centre"
	boardChild  = "__board"
	checkChild  = "__check" // of a spool, started by a device
)

// IsChild reports whether arguments (without the program's name) are those of a
// child process: a test binary that runs districts passes them to Run.
func IsChild(args []string) bool {
	return len(args) > 0 && slices.Contains([]string{deviceChild, boardChild, centreChild, checkChild}, args[0])
}

var (
	// errUsage means that the arguments are wrong; the message says how.
	errUsage = errors.New("usage")
	// errExpectations means that a scenario did not hold.
	errExpectations = errors.New("the scenario does not hold")
)

type streams struct{ out, err io.Writer }

// Run runs the command and returns its exit status.
func Run(ctx context.Context, version string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	if IsChild(args) {
		switch args[0] {
		case deviceChild:
			self, err := os.Executable()
			if err != nil {
				fmt.Fprintln(stderr, err)
				return 1
			}
			return child.Device(ctx, version, []string{self, checkChild}, args[1:], stdin, stdout, stderr)
		case boardChild:
			return child.Board(ctx, args[1:], stdin, stdout, stderr)
		case checkChild:
			return spool.CheckMain(args[len(args)-1], stderr)
		}
		return child.Centre(ctx, centre(version), args[1:], stdin, stdout, stderr)
	}
	err := run(ctx, version, args, stdin, streams{stdout, stderr})
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "sim: %s\n", strings.TrimRight(line, "\n"))
	}
	var bad *strictyaml.Error
	switch {
	case errors.Is(err, errUsage):
		fmt.Fprint(stderr, usage)
		return 2
	case errors.As(err, &bad), errors.Is(err, scenario.ErrFile), errors.Is(err, bench.ErrWiring):
		return 2
	}
	return 1
}

// imager builds images of virtual boards from the source that this program is
// run in.
func imager(version string) district.Imager {
	return func(ctx context.Context, board string, config []byte, out string) error {
		source, err := image.FindSource(".")
		if err != nil {
			return err
		}
		return image.Build(ctx, image.Options{Board: board, Config: config, Source: source, Version: version, Out: out})
	}
}

func centre(version string) child.Main {
	return func(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
		return bridge.Run(ctx, version, args, stdin, stdout, stderr)
	}
}

func run(ctx context.Context, version string, args []string, stdin io.Reader, std streams) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: no command", errUsage)
	}
	switch args[0] {
	case "up":
		return up(ctx, version, args[1:], std)
	case "run":
		return runScenario(ctx, version, args[1:], std)
	case "bench":
		return Bench(ctx, version, args[1:], std.out, std.err, nil)
	case "check":
		return check(args[1:], std)
	case "reader":
		return emulateReader(ctx, args[1:], stdin, std)
	case "version":
		fmt.Fprintln(std.out, "sim", version)
		return nil
	case "help", "-h", "-help", "--help":
		return flag.ErrHelp
	}
	return fmt.Errorf("%w: unknown command %q", errUsage, args[0])
}

// parse parses flags, which may stand before, between and after the
// arguments, and returns the arguments.
func parse(args []string, define func(*flag.FlagSet)) ([]string, error) {
	f := flag.NewFlagSet("sim", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	define(f)
	var rest []string
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
}

func demo() (map[string]scenario.Device, error) {
	return scenario.ParseDistrict("district.yaml", districtYAML)
}

func check(args []string, std streams) error {
	paths, err := parse(args, func(*flag.FlagSet) {})
	if err != nil {
		return err
	}
	if len(paths) == 0 {
		return fmt.Errorf("%w: check wants scenarios", errUsage)
	}
	devices, err := demo()
	if err != nil {
		return err
	}
	var errs error
	for _, path := range paths {
		s, err := scenario.Load(path, devices)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		fmt.Fprintf(std.out, "%s: ok: %s: %d steps, %d devices\n", path, s.Name, len(s.Timeline), len(s.Devices))
	}
	return errs
}

// dataFolder returns the folder to use and what removes it at the end, which
// does nothing to a folder that was asked for.
func dataFolder(asked string) (string, func() error, error) {
	if asked != "" {
		if err := os.MkdirAll(asked, 0o700); err != nil {
			return "", nil, fmt.Errorf("data folder: %w", err)
		}
		return asked, func() error { return nil }, nil
	}
	dir, err := os.MkdirTemp("", "fengsui-sim-")
	if err != nil {
		return "", nil, fmt.Errorf("data folder: %w", err)
	}
	return dir, func() error { return os.RemoveAll(dir) }, nil
}

// listen opens an address for the page, and says what to do when it is taken.
func listen(flagName, addr string) (net.Listener, error) {
	ln, err := net.Listen("tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("--%s %s: the address is in use: end the program that holds it, or choose another address", flagName, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("--%s %q: %w", flagName, addr, err)
	}
	return ln, nil
}

// free reports whether an address can be listened on.
func free(flagName, addr string) error {
	ln, err := listen(flagName, addr)
	if err != nil {
		return err
	}
	return ln.Close()
}

func startDistrict(ctx context.Context, o district.Options, version string, std streams) (*district.District, error) {
	starter, err := district.Self()
	if err != nil {
		return nil, err
	}
	o.Centre, o.Starter, o.Image = centre(version), starter, imager(version)
	o.Log = slog.New(slog.NewTextHandler(std.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
	return district.Start(ctx, o)
}

// ready waits until every device is in touch with the desk: 20 s, and half a
// second for each device, which starts as a process of its own.
func ready(ctx context.Context, d *district.District) error {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second+time.Duration(len(d.IDs()))*500*time.Millisecond)
	defer cancel()
	return d.Ready(ctx)
}
