// Package cli is the fengsui command, callable from Go with its own arguments
// and streams. It parses arguments and reports errors; the work is done by the
// packages that it calls.
//
// Output: results go to stdout and nothing else does; errors go to stderr as
// "fengsui: …", one a line; the log of a running agent goes to stderr. The exit
// status is 0, 1 when the work failed, 2 when the arguments are wrong, and 3 when
// doctor found no failure but could not try everything.
package cli

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"unicode"

	"github.com/coreos/go-systemd/v22/daemon"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/firmware/internal/hw"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/starter"
	"github.com/fengsui/fengsui/firmware/uplink"
	"github.com/fengsui/fengsui/firmware/wifi"
)

const usage = `usage: fengsui COMMAND

  run --config FILE         run the device
  check --config FILE       check a configuration and say what it means
  key --config FILE         print the device's public key, made at the first call
  pin                       read a PIN from standard input and print its hash for the configuration
  terminal --config FILE    print the address of the officer's screen, with its token
  doctor --config FILE      commission the device where it hangs: check each port, and the way to the centre
      [--self-test]         ask nobody, and make no sound
      [--lang zh-CN|en] [--json] [--by NAME] [--report FILE.html]
      ends with 0 when all passed, 1 when something failed, 3 when something was skipped
  doctor --board NAME [--self-test]
                            check a board on which nothing is set up yet
  doctor verify REPORT.html --key HEX
                            check a report against a device's public key
  gps decode [FILE|-]       print one JSON object a fix, in gpsd's TPV names
  spool ls (--config FILE | FILE)
                            list the events that wait in a spool
  spool check (--config FILE | FILE)
                            read all of a spool and say whether it is in order
  finger enrol --config FILE --officer ID [--role officer|supervisor|technician] [--slot N] [--duress] [--lang zh-CN]
                            enrol a finger while the device is stopped; prints its slot
  finger delete --config FILE --slot N
  finger list --config FILE list whose finger is in which slot, and what belongs to nobody
  finger password --config FILE
                            print the password that this device gives its sensor
  finger adopt --config FILE
                            forget all fingers, and take another sensor for ours
  boot --config FILE        be process 1 of an image (board image): run the device and what it needs
  version                   print the version
`

// errUsage means that the arguments are wrong; the message says how.
var errUsage = errors.New("usage")

type streams struct {
	in       io.Reader
	out, err io.Writer
}

// Run runs the command and returns its exit status.
func Run(ctx context.Context, version string, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	err := run(ctx, version, args, streams{stdin, stdout, stderr})
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		return 0
	}
	var code exitCode
	if errors.As(err, &code) {
		return int(code)
	}
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "fengsui: %s\n", plain(strings.TrimRight(line, "\n")))
	}
	if errors.Is(err, errUsage) {
		fmt.Fprint(stderr, usage)
		return 2
	}
	return 1
}

// plain is a text as it may stand on a terminal: what is not printed there, escape sequences
// and what turns the line among them, is replaced.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) || r == '\t' {
			return r
		}
		return '\uFFFD'
	}, s)
}

func run(ctx context.Context, version string, args []string, std streams) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: no command", errUsage)
	}
	rest := args[1:]
	switch args[0] {
	case "run":
		return runDevice(ctx, version, rest, std)
	case "check":
		cfg, err := load(rest)
		if err != nil {
			return err
		}
		fmt.Fprintf(std.out, "%s: %s, %d buttons, reports to %v\n", cfg.Device, cfg.Profile, len(cfg.Buttons), cfg.Centre.Servers)
		return nil
	case "key":
		return printKey(rest, std)
	case "pin":
		return hashPIN(rest, std)
	case "terminal":
		return printTerminal(rest, std)
	case "doctor":
		return commission(ctx, version, rest, std)
	case "gps":
		return decodeGPS(rest, std)
	case "spool":
		return lookAtSpool(rest, std)
	case "finger":
		return finger(ctx, rest, std)
	case "boot":
		return bootImage(ctx, rest, std)
	case "version":
		if err := none(rest); err != nil {
			return err
		}
		fmt.Fprintln(std.out, "fengsui", version)
		return nil
	case "help", "-h", "-help", "--help":
		return flag.ErrHelp
	}
	return fmt.Errorf("%w: unknown command %q", errUsage, args[0])
}

// load parses --config FILE and reads the file.
func load(args []string) (*config.Config, error) {
	path, rest, err := configFlag(args)
	if err != nil {
		return nil, err
	}
	if err := none(rest); err != nil {
		return nil, err
	}
	if path == "" {
		return nil, fmt.Errorf("%w: --config FILE is missing", errUsage)
	}
	return config.Load(path)
}

func configFlag(args []string) (path string, rest []string, err error) {
	f := flag.NewFlagSet("fengsui", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&path, "config", "", "")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return "", nil, err
		}
		return "", nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	return path, f.Args(), nil
}

func none(rest []string) error {
	if len(rest) > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, rest[0])
	}
	return nil
}

func runDevice(ctx context.Context, version string, args []string, std streams) error {
	cfg, err := load(args)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(std.err, nil))
	ports, err := agent.OpenPorts(cfg, nil)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	opt := agent.Options{
		Version: version, Log: log, CheckSpool: []string{self, "spool", "check"}, Was: os.Getenv(starter.WasVariable), WiFi: wireless(),
	}
	if cards := os.Getenv(starter.NetworksVariable); cards != "" {
		ports.Dial = uplink.Over(strings.Split(cards, ","), nil)
	}
	// Under systemd and in an image alike, NOTIFY_SOCKET and WATCHDOG_USEC say who watches.
	limit, err := daemon.SdWatchdogEnabled(false)
	if err != nil {
		return fmt.Errorf("watchdog: %w", err)
	}
	opt.NotifyEvery = limit / 3
	opt.Notify = func(state string) error { _, err := daemon.SdNotify(false, state); return err }
	a, err := agent.New(cfg, ports, opt)
	if err != nil {
		return err
	}
	return a.Run(ctx)
}

// wireless returns what tells of the wireless network: what process 1 of an image
// says of it, which joins it, or on another system the kernel.
func wireless() func() (*wifi.State, error) {
	if path := os.Getenv(starter.WiFiVariable); path != "" {
		return func() (*wifi.State, error) { return wifi.Read(path) }
	}
	return hw.Wireless
}

func printKey(args []string, std streams) error {
	cfg, err := load(args)
	if err != nil {
		return err
	}
	key, err := agent.LoadOrCreateKey(cfg.Data)
	if err != nil {
		return err
	}
	fmt.Fprintln(std.out, hex.EncodeToString(key.Public().(ed25519.PublicKey)))
	return nil
}

func decodeGPS(args []string, std streams) error {
	if len(args) == 0 || args[0] != "decode" {
		return fmt.Errorf("%w: want gps decode [FILE|-]", errUsage)
	}
	args = args[1:]
	if len(args) > 1 {
		return none(args[1:])
	}
	in := std.in
	if len(args) == 1 && args[0] != "-" {
		if strings.HasPrefix(args[0], "-") {
			return fmt.Errorf("%w: gps decode has no flag %s", errUsage, args[0])
		}
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	seen, err := gps.WriteJSON(in, std.out)
	if err == nil && seen.Fixes == 0 {
		fmt.Fprintf(std.err, "fengsui: gps: no fix: %d sentences read, %d passed over, %d with a wrong checksum or cut, %d with an impossible value\n",
			seen.Good, seen.Other, seen.Checksum+seen.Cut, seen.Rejected)
	}
	return err
}

func lookAtSpool(args []string, std streams) error {
	want := fmt.Errorf("%w: want spool ls or spool check (--config FILE | FILE)", errUsage)
	if len(args) == 0 || args[0] != "ls" && args[0] != "check" {
		return want
	}
	path, rest, err := configFlag(args[1:])
	switch {
	case err != nil:
		return err
	case path != "" && len(rest) > 0:
		return none(rest)
	case path != "":
		cfg, err := config.Load(path)
		if err != nil {
			return err
		}
		path = agent.SpoolPath(cfg)
	case len(rest) == 1:
		path = rest[0]
	case len(rest) > 1:
		return none(rest[1:])
	default:
		return want
	}
	if args[0] == "ls" {
		return spool.List(path, std.out)
	}
	if code := spool.CheckMain(path, std.err); code != 0 {
		return exitCode(code)
	}
	fmt.Fprintf(std.out, "%s: in order\n", path)
	return nil
}

// An exitCode ends the command with it; what is to be said was said.
type exitCode int

func (exitCode) Error() string { return "" }
