// Package bridge is the cloud-bridge command, callable from Go with its own
// arguments and streams: it composes broker, ingest, store and console into
// the centre, and keeps the centre's key and the register of devices.
//
// Output: results go to stdout; errors to stderr as "cloud-bridge: …", one a
// line; the log of a running centre to stderr. The exit status is 0, 1 when
// the work failed, 2 when the arguments are wrong.
package bridge

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

const usage = `usage: cloud-bridge COMMAND

  serve --data DIR          run the centre; all that it knows is in the folder
      --http-addr HOST:PORT   the desk and the API (127.0.0.1:8080)
      --mqtt-addr HOST:PORT   the embedded broker (127.0.0.1:1883)
      --broker mqtt://H:P     use this MQTT broker and not the embedded one
      --devices FILE          register the devices of a YAML file first
      --tls-cert FILE --tls-key FILE   serve https; read again when renewed
      --proxy ADDR,…          believe X-Forwarded-For and -Proto of these proxies
      --oidc FILE             an OpenID provider that people sign in at (YAML)
      --session-idle DURATION without use ends a session (1h)
      --session-life DURATION ends it in any case (24h)
      --map-style URL         a MapLibre style for the desk's map
      --suspect DURATION      of silence makes a device suspect (1m)
      --offline DURATION      of silence makes it an incident (1m25s)
      --grace DURATION        for devices to come back after the centre's start (2m)
      --sms-modem PORT        take alarms by SMS from a modem at this serial port
      --sms-baud N            its speed (115200)
      --sms-pin PIN           of its SIM
      --sms-secret FILE       take them from a gateway at /api/v1/sms that signs with this secret
      --sms-gateway URL       where the gateway takes the centre's own
      --district-least N      so many devices (3) and such a share of them (0.2)
      --district-share SHARE  that fall silent together are one incident
      --ack-within LIMIT      an alarm goes to the next tier when nobody took it (15s),
      --dispatch-within LIMIT   no unit was sent (1m),
      --arrive-within LIMIT     or none is there (1=15m,2=20m): a duration, or by priority
      --zone NAME             the district's time zone, in which its pages show times (Asia/Shanghai)
      --fix-limit DURATION    a unit whose fix is older is not offered as near (2m)
  key --data DIR            print the centre's public key, made at the first call
  device add --data DIR --id ID --kind alarm-box|patrol-car|patrol-motorcycle --key HEX
      [--name NAME] [--lat DEG --lon DEG]
  device list --data DIR
  account add --data DIR --name NAME --role ROLE [--scope NODE,…|*]
      [--password-stdin | --token-only]
      print a one-time password; ROLE: viewer, dispatcher, supervisor, technician, admin
  account list --data DIR
  account assign --data DIR --name NAME --role ROLE [--scope NODE,…|*]
  account reset|disable|enable --data DIR --name NAME
      reset prints a one-time password, ends all sessions and revokes all tokens
  account token --data DIR --name NAME [--role ROLE] [--label TEXT] [--days N]
      print a token for a program
  grid load FILE --data DIR     cells, villages and townships, as GeoJSON
  grid show --data DIR
  roster load FILE --data DIR   shifts and guard rounds, as YAML
  roster show --data DIR
  group put --data DIR --id ID --name NAME --devices ID,ID,… [--automatic] [--sounds 3m]
  group drop --data DIR --id ID
  group list --data DIR
  audit verify --data DIR       check who did what, or an export of it:
  audit verify FILE [--key HEX]
  audit export --data DIR       as JSON lines on stdout
  evidence verify FILE [--key HEX]
  version
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
	for line := range strings.Lines(err.Error()) {
		fmt.Fprintf(stderr, "cloud-bridge: %s\n", plain(strings.TrimRight(line, "\n")))
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
		if unicode.IsPrint(r) {
			return r
		}
		return '\uFFFD'
	}, s)
}

func run(ctx context.Context, version string, args []string, std streams) error {
	if len(args) == 0 {
		return fmt.Errorf("%w: no command", errUsage)
	}
	switch args[0] {
	case "serve":
		o, err := serveOptions(args[1:])
		if err != nil {
			return err
		}
		o.version = version
		return serve(ctx, o, std)
	case "key":
		return printKey(args[1:], std)
	case "device":
		return deviceCommand(ctx, args[1:], std)
	case "account":
		return accountCommand(ctx, args[1:], std)
	case "grid", "roster":
		return loadCommand(ctx, args[0], args[1:], std)
	case "group":
		return groupCommand(ctx, args[1:], std)
	case "audit":
		return auditCommand(ctx, args[1:], std)
	case "evidence":
		return evidenceCommand(args[1:], std)
	case "version":
		fmt.Fprintln(std.out, "cloud-bridge", version)
		return nil
	case "help", "-h", "-help", "--help":
		return flag.ErrHelp
	}
	return fmt.Errorf("%w: unknown command %q", errUsage, args[0])
}

// parse parses flags, of which data is required, and takes no other argument.
func parse(args []string, data *string, define func(*flag.FlagSet)) error {
	f := flag.NewFlagSet("cloud-bridge", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(data, "data", "", "")
	if define != nil {
		define(f)
	}
	if err := f.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%w: unexpected argument %q", errUsage, f.Arg(0))
	}
	if *data == "" {
		return fmt.Errorf("%w: --data DIR is missing", errUsage)
	}
	if err := os.MkdirAll(*data, 0o700); err != nil {
		return fmt.Errorf("data folder: %w", err)
	}
	return nil
}

func printKey(args []string, std streams) error {
	var data string
	if err := parse(args, &data, nil); err != nil {
		return err
	}
	key, err := loadOrCreateKey(data)
	if err != nil {
		return err
	}
	fmt.Fprintln(std.out, hex.EncodeToString(key.Public().(ed25519.PublicKey)))
	return nil
}

func deviceCommand(ctx context.Context, args []string, std streams) (err error) {
	if len(args) == 0 || args[0] != "add" && args[0] != "list" {
		return fmt.Errorf("%w: want device add or device list", errUsage)
	}
	var data, kind, key string
	var r store.Registration
	var lat, lon float64
	set := make(map[string]bool)
	define := func(f *flag.FlagSet) {
		f.StringVar(&r.ID, "id", "", "")
		f.StringVar(&kind, "kind", "", "")
		f.StringVar(&key, "key", "", "")
		f.StringVar(&r.Name, "name", "", "")
		for name, v := range map[string]*float64{"lat": &lat, "lon": &lon} {
			f.Func(name, "", func(s string) error {
				set[name] = true
				var err error
				*v, err = strconv.ParseFloat(s, 64)
				return err
			})
		}
	}
	if args[0] == "list" {
		define = nil
	}
	if err := parse(args[1:], &data, define); err != nil {
		return err
	}
	st, err := store.Open(ctx, filepath.Join(data, storeFile), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Shut()) }()
	if args[0] == "list" {
		devices, err := st.Devices(ctx)
		for _, d := range devices {
			fmt.Fprintf(std.out, "%s\t%s\t%s\t%s\n", d.ID, d.Kind, hex.EncodeToString(d.Key), plain(d.Name))
		}
		return err
	}
	if set["lat"] != set["lon"] {
		return fmt.Errorf("%w: want --lat and --lon together", errUsage)
	}
	if set["lat"] {
		r.At = &store.Point{Lat: lat, Lon: lon}
	}
	r.Kind = store.DeviceKind(kind)
	if r.Key, err = hex.DecodeString(key); err != nil {
		return fmt.Errorf("device %q: key %q: want 64 hexadecimal digits", r.ID, key)
	}
	return st.Register(ctx, r)
}
