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
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/cloud-bridge/evidence"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// target sets one of the targets of a policy: a duration for priorities 1 and 2, or
// "1=15s,2=30s"; "0" is no limit.
func target(p incident.Policy, of func(*incident.Targets) *time.Duration) func(string) error {
	return func(s string) error {
		for part := range strings.SplitSeq(s, ",") {
			priorities := []int{1, 2}
			if n, after, found := strings.Cut(part, "="); found {
				v, err := strconv.Atoi(n)
				if err != nil || v < 1 || v > 9 {
					return fmt.Errorf("priority %q: want 1 to 9", n)
				}
				priorities, part = []int{v}, after
			}
			d, err := time.ParseDuration(part)
			if err != nil || d < 0 || d > 24*time.Hour || d > 0 && d < time.Second {
				return fmt.Errorf("%q: want a duration from 1s to 24h, or 0", part)
			}
			for _, n := range priorities {
				t := p[n]
				*of(&t) = d
				p[n] = t
			}
		}
		return nil
	}
}

// command parses the flags of a command that works on the centre's data and calls f with
// the open store. Who does it is the user of the machine.
func command(ctx context.Context, args []string, define func(*flag.FlagSet), f func(st *store.Store, by incident.Actor, data string) error) (err error) {
	var data string
	if err := parse(args, &data, define); err != nil {
		return err
	}
	st, err := store.Open(ctx, filepath.Join(data, storeFile), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Shut()) }()
	user := os.Getenv("USER")
	if user == "" {
		user = "uid " + strconv.Itoa(os.Getuid())
	}
	return f(st, incident.Actor{Name: user, Screen: incident.ScreenCommand}, data)
}

// file takes the one argument that is no flag from the front or the end of args.
func file(args []string) (name string, rest []string) {
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return args[0], args[1:]
	}
	if n := len(args); n%2 == 1 { // flags come in pairs here
		return args[n-1], args[:n-1]
	}
	return "", args
}

// pinned reads a public key given as hexadecimal; "" is none.
func pinned(s string) (ed25519.PublicKey, error) {
	if s == "" {
		return nil, nil
	}
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: --key %q: want 64 hexadecimal digits", errUsage, s)
	}
	return b, nil
}

func auditCommand(ctx context.Context, args []string, std streams) error {
	if len(args) == 0 || args[0] != "verify" && args[0] != "export" {
		return fmt.Errorf("%w: want audit verify or audit export", errUsage)
	}
	if args[0] == "export" {
		return command(ctx, args[1:], nil, func(st *store.Store, _ incident.Actor, data string) error {
			key, err := loadOrCreateKey(data)
			if err != nil {
				return err
			}
			out := audit.NewWriter(std.out)
			if err := st.AuditLog(ctx, 1, out.Write); err != nil {
				return err
			}
			return out.Close(key, time.Now())
		})
	}
	name, rest := file(args[1:])
	if name == "" {
		return command(ctx, rest, nil, func(st *store.Store, _ incident.Actor, _ string) error {
			c, err := st.CheckAudit(ctx)
			if err == nil {
				fmt.Fprintf(std.out, "whole: %d entries, the last hash is %s\n", c.Entries, c.Hash)
			}
			return err
		})
	}
	var key string
	f := flag.NewFlagSet("cloud-bridge", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&key, "key", "", "")
	if err := f.Parse(rest); err != nil || f.NArg() > 0 {
		return fmt.Errorf("%w: want audit verify FILE [--key HEX]", errUsage)
	}
	public, err := pinned(key)
	if err != nil {
		return err
	}
	in, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	defer in.Close()
	c, head, err := audit.Read(in, public, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(std.out, "whole: %d entries, %d left out, numbers %d to %d, exported %s, signed by %s\n",
		c.Entries, c.LeftOut, c.First, c.Last, time.UnixMilli(head.At).UTC().Format(time.RFC3339), head.Key)
	return nil
}

func evidenceCommand(args []string, std streams) error {
	if len(args) == 0 || args[0] != "verify" {
		return fmt.Errorf("%w: want evidence verify FILE [--key HEX]", errUsage)
	}
	name, rest := file(args[1:])
	var key string
	f := flag.NewFlagSet("cloud-bridge", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	f.StringVar(&key, "key", "", "")
	if err := f.Parse(rest); err != nil || f.NArg() > 0 || name == "" {
		return fmt.Errorf("%w: want evidence verify FILE [--key HEX]", errUsage)
	}
	public, err := pinned(key)
	if err != nil {
		return err
	}
	in, err := os.Open(name)
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	r, err := evidence.Verify(in, info.Size(), public)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	fmt.Fprintf(std.out, "whole: incident %s, packed %s, %d signed events of %d devices, %d audit entries, %d files, signed by %s\n",
		r.Manifest.Incident, r.Manifest.At, r.Events, r.Devices, r.Audit.Entries, r.Files, r.Manifest.Key)
	if public == nil {
		fmt.Fprintln(std.out, "compare that key with the centre's own, or name it with --key: any centre can sign")
	}
	return nil
}

// loadCommand is grid load and roster load.
func loadCommand(ctx context.Context, what string, args []string, std streams) error {
	if len(args) == 0 || args[0] != "load" && args[0] != "show" {
		return fmt.Errorf("%w: want %s load FILE or %s show", errUsage, what, what)
	}
	name, rest := "", args[1:]
	if args[0] == "load" {
		if name, rest = file(args[1:]); name == "" {
			return fmt.Errorf("%w: want %s load FILE --data DIR", errUsage, what)
		}
	}
	return command(ctx, rest, nil, func(st *store.Store, by incident.Actor, _ string) error {
		if args[0] == "show" {
			return show(ctx, st, what, std)
		}
		body, err := os.ReadFile(name)
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if what == "grid" {
			g, err := st.LoadGrid(ctx, by, body)
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			fmt.Fprintf(std.out, "%d areas loaded\n", len(g.Features))
			return nil
		}
		r, err := st.LoadRoster(ctx, by, body)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		fmt.Fprintf(std.out, "%d people, %d shifts and %d rounds loaded\n", len(r.People), len(r.Shifts), len(r.Rounds))
		return nil
	})
}

func show(ctx context.Context, st *store.Store, what string, std streams) error {
	var d *store.Document
	var err error
	if what == "grid" {
		_, d, err = st.Grid(ctx)
	} else {
		_, d, err = st.Roster(ctx)
	}
	if err == nil && d == nil {
		err = fmt.Errorf("no %s was loaded", what)
	}
	if err != nil {
		return err
	}
	_, err = std.out.Write(d.Body)
	return err
}

func groupCommand(ctx context.Context, args []string, std streams) error {
	if len(args) == 0 || args[0] != "put" && args[0] != "drop" && args[0] != "list" {
		return fmt.Errorf("%w: want group put, group drop or group list", errUsage)
	}
	g := store.Group{Sounds: 3 * time.Minute}
	var devices string
	define := func(f *flag.FlagSet) {
		f.StringVar(&g.ID, "id", "", "")
		if args[0] == "put" {
			f.StringVar(&g.Name, "name", "", "")
			f.StringVar(&devices, "devices", "", "")
			f.BoolVar(&g.Automatic, "automatic", false, "")
			f.DurationVar(&g.Sounds, "sounds", g.Sounds, "")
		}
	}
	if args[0] == "list" {
		define = nil
	}
	return command(ctx, args[1:], define, func(st *store.Store, by incident.Actor, _ string) error {
		switch args[0] {
		case "put":
			if devices != "" {
				g.Devices = strings.Split(devices, ",")
			}
			return st.PutGroup(ctx, by, g)
		case "drop":
			return st.DropGroup(ctx, by, g.ID)
		}
		groups, err := st.Groups(ctx)
		for _, g := range groups {
			how := "a dispatcher lets them sound"
			if g.Automatic {
				how = "they sound at once"
			}
			fmt.Fprintf(std.out, "%s\t%s\t%s\t%s\t%s\n", g.ID, plain(g.Name), how, g.Sounds, strings.Join(g.Devices, ","))
		}
		return err
	})
}
