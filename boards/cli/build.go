package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/deb"
	"github.com/fengsui/fengsui/boards/image"
	"github.com/fengsui/fengsui/firmware/config"
)

// A recipe is what an image and a package are both made of.
type recipe struct {
	config, out, source, firmware string

	speaks bool // the configuration has a loudspeaker
}

func (r *recipe) flags(fs *flag.FlagSet) {
	fs.StringVar(&r.config, "config", "", "")
	fs.StringVar(&r.out, "o", "", "")
	fs.StringVar(&r.source, "source", ".", "")
	fs.StringVar(&r.firmware, "firmware", "", "")
}

// configuration reads and checks the device's configuration: it must be right,
// and for this board.
func (r *recipe) configuration(board string) ([]byte, error) {
	c, err := config.Load(r.config)
	if err != nil {
		return nil, err
	}
	r.speaks = c.Audio != nil
	if c.Board != board {
		return nil, fmt.Errorf("%s: field \"board\": value %q: want %s, the board that this is built for", r.config, c.Board, board)
	}
	b, err := boards.Load(board)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(b.Profiles, c.Profile) {
		return nil, fmt.Errorf("%s: field \"profile\": value %q: want one that the board serves: %s", r.config, c.Profile, strings.Join(b.Profiles, ", "))
	}
	return os.ReadFile(r.config)
}

// image builds an image.
func (c *command) image(ctx context.Context, args []string) error {
	fs := c.flags()
	var r recipe
	r.flags(fs)
	size := fs.Int64("size", 0, "")
	radio := fs.String("radio-firmware", "", "")
	var s cardSettings
	s.flags(fs)
	rest, err := c.parse(fs, args, "NAME")
	switch {
	case err != nil:
		return err
	case r.config == "":
		return fmt.Errorf("%w: want --config FILE: an image has its device's configuration inside", errUsage)
	case r.out == "":
		return fmt.Errorf("%w: want -o FILE.img", errUsage)
	case *size < 0 || *size > 1<<20:
		return fmt.Errorf("%w: --size %d: want MiB", errUsage, *size)
	}
	settings, err := s.yaml()
	if err != nil {
		return err
	}
	o := image.Options{Board: rest[0], Settings: settings, Version: c.version, Firmware: r.firmware, Out: r.out, Size: *size << 20, RadioFirmware: *radio}
	if _, err := boards.Load(o.Board); err != nil {
		return err
	}
	if o.Config, err = r.configuration(o.Board); err != nil {
		return err
	}
	o.Speech = r.speaks
	if o.Source, err = image.FindSource(r.source); err != nil {
		return err
	}
	fmt.Fprintln(c.err, c.say.text("imaging", o.Board))
	if err := image.Build(ctx, o); err != nil {
		return err
	}
	fmt.Fprintln(c.err, c.say.text("built", r.out))
	return nil
}

// cardSettings are the settings of one card, as arguments; package settings
// knows what they mean.
type cardSettings struct {
	file                                          string
	join                                          string
	ethernet, gateway, dns                        string
	wifi, passphrase, country                     string
	apn, port, apnInterface, apnUser, apnPassword string
}

func (s *cardSettings) flags(fs *flag.FlagSet) {
	for name, v := range map[string]*string{
		"settings": &s.file, "join-token": &s.join, "ethernet": &s.ethernet, "gateway": &s.gateway, "dns": &s.dns,
		"wifi": &s.wifi, "wifi-passphrase": &s.passphrase, "wifi-country": &s.country, "apn": &s.apn, "modem-port": &s.port,
		"apn-interface": &s.apnInterface, "apn-user": &s.apnUser, "apn-password": &s.apnPassword,
	} {
		fs.StringVar(v, name, "", "")
	}
}

// yaml returns the file for the card, or nil when nothing was asked for.
func (s *cardSettings) yaml() ([]byte, error) {
	doc := make(map[string]any)
	put := func(m map[string]any, key, value string) {
		if value != "" {
			m[key] = value
		}
	}
	section := func(key string, pairs ...string) {
		m := make(map[string]any)
		for i := 0; i+1 < len(pairs); i += 2 {
			put(m, pairs[i], pairs[i+1])
		}
		if len(m) > 0 {
			doc[key] = m
		}
	}
	put(doc, "join", s.join)
	section("ethernet", "address", s.ethernet, "gateway", s.gateway)
	if s.dns != "" {
		if m, ok := doc["ethernet"].(map[string]any); ok {
			m["dns"] = strings.Split(s.dns, ",")
		} else {
			return nil, fmt.Errorf("%w: --dns wants --ethernet ADDRESS/SIZE beside it", errUsage)
		}
	}
	section("wifi", "ssid", s.wifi, "passphrase", s.passphrase, "country", s.country)
	section("cellular", "apn", s.apn, "port", s.port, "interface", s.apnInterface, "user", s.apnUser, "password", s.apnPassword)
	switch {
	case s.file != "" && len(doc) > 0:
		return nil, fmt.Errorf("%w: --settings takes the place of the other settings: want one or the other", errUsage)
	case s.file != "":
		return os.ReadFile(s.file)
	case len(doc) == 0:
		return nil, nil
	}
	return yaml.Marshal(doc)
}

// deb builds a package.
func (c *command) deb(ctx context.Context, args []string) (err error) {
	fs := c.flags()
	var r recipe
	r.flags(fs)
	rest, err := c.parse(fs, args, "NAME")
	switch {
	case err != nil:
		return err
	case r.out == "":
		return fmt.Errorf("%w: want -o FILE.deb", errUsage)
	}
	o := deb.Options{Name: rest[0], Version: c.version, Firmware: r.firmware, Made: made()}
	if o.Board, err = boards.Load(o.Name); err != nil {
		return err
	}
	name, err := o.File() // nothing is built for a board that takes no package
	if err != nil {
		return err
	}
	if st, err := os.Stat(r.out); err == nil && st.IsDir() {
		r.out = filepath.Join(r.out, name)
	}
	if r.config != "" {
		if o.Config, err = r.configuration(o.Name); err != nil {
			return err
		}
	}
	if source, err := image.FindSource(r.source); err == nil {
		if o.Example, err = os.ReadFile(filepath.Join(source, "firmware/config/example.yaml")); err != nil {
			return err
		}
	}
	if o.Firmware == "" {
		tmp, err := os.MkdirTemp("", "fengsui-deb-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(tmp)
		o.Firmware = filepath.Join(tmp, "fengsui")
		fmt.Fprintln(c.err, c.say.text("building", o.Name))
		if err := c.build(ctx, o.Board, r.source, o.Firmware); err != nil {
			return err
		}
	}
	if err := deb.Build(ctx, o, r.out); err != nil {
		return err
	}
	fmt.Fprintln(c.err, c.say.text("built", r.out))
	return nil
}

// made is the time that a package says it was made at: SOURCE_DATE_EPOCH, as
// reproducible builds have it.
func made() time.Time {
	if n, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		return time.Unix(n, 0)
	}
	return time.Now()
}

// build builds the firmware for a board as make build does.
func (c *command) build(ctx context.Context, b *boards.Board, source, out string) error {
	source, err := image.FindSource(source)
	if err != nil {
		return fmt.Errorf("%w: or --firmware FILE", err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid= -X main.version="+c.version, "-o", out, "./firmware/cmd/fengsui")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+b.Arch)
	if b.ARM != 0 {
		cmd.Env = append(cmd.Env, "GOARM="+strconv.Itoa(b.ARM))
	}
	if text, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("go build: %w", err), errors.New(string(bytes.TrimSpace(text))))
	}
	return nil
}
