package sim

import (
	"bytes"
	"context"
	"crypto/rand"
	_ "embed" // the demonstration's plan
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fengsui/fengsui/boards/image"
	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/panel"
	"github.com/fengsui/fengsui/sim/scenario"
	"github.com/fengsui/fengsui/sim/virtboard"
)

// keep is how many entries of a kind a running demonstration remembers.
const keep = 20_000

func up(ctx context.Context, version string, args []string, std streams) (err error) {
	var deskAddr, simAddr, data, file string
	var virtual bool
	rest, err := parse(args, func(f *flag.FlagSet) {
		f.StringVar(&deskAddr, "desk-addr", "127.0.0.1:8080", "")
		f.StringVar(&simAddr, "sim-addr", "127.0.0.1:8081", "")
		f.StringVar(&data, "data", "", "")
		f.StringVar(&file, "district", "", "")
		f.BoolVar(&virtual, "virtual-board", false, "")
	})
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%w: unexpected argument %q", errUsage, rest[0])
	}
	if err != nil {
		return err
	}
	devices, err := demo()
	if file != "" {
		b, rerr := os.ReadFile(file)
		if rerr != nil {
			return fmt.Errorf("district: %w", rerr)
		}
		devices, err = scenario.ParseDistrict(file, b)
	}
	if err != nil {
		return err
	}
	if virtual {
		if err := addBoard(devices); err != nil {
			return err
		}
	}
	if err := free("desk-addr", deskAddr); err != nil {
		return err
	}
	ln, err := listen("sim-addr", simAddr)
	if err != nil {
		return err
	}
	defer ln.Close() // the server closes it too, when it gets there
	dir, remove, err := dataFolder(data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()

	name, password, err := demoAccount(ctx, version, filepath.Join(dir, "centre"))
	if err != nil {
		return interrupted(ctx, err)
	}
	d, err := startDistrict(ctx, district.Options{Data: dir, Devices: devices, DeskAddr: deskAddr, Seed: uint64(time.Now().UnixNano()), Keep: keep}, version, std)
	if err != nil {
		return interrupted(ctx, err)
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	page, err := panel.New(d, slogTo(std))
	if err != nil {
		return err
	}
	server := &http.Server{Handler: page, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	defer func() {
		page.Close()
		stop, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		defer cancel()
		if serr := server.Shutdown(stop); serr != nil {
			_ = server.Close() // a reader that does not go
		}
	}()

	err = ready(ctx, d)
	if ctx.Err() != nil {
		return nil
	}
	if err == nil && file == "" {
		err = demoPlan(ctx, d)
	}
	if err != nil {
		fmt.Fprintf(std.err, "sim: %v\n", err)
	}
	url := "http://" + ln.Addr().String()
	fmt.Fprintf(std.err, "The dispatch desk:     %s\nThe simulator's page:  %s\nData and logs:         %s", d.Centre.URL(), url, dir)
	if data == "" {
		fmt.Fprint(std.err, " (removed at the end)")
	}
	fmt.Fprintf(std.err, "\nPress a button: curl -X POST %s/devices/%s\nCtrl-C ends everything.\n", url, example(devices))
	fmt.Fprintf(std.err, "sign in: name=%s password=%s\n", name, password)
	fmt.Fprintf(std.out, "ready desk=%s sim=%s\n", d.Centre.URL(), url)
	select {
	case <-ctx.Done():
		return nil
	case err := <-served:
		return fmt.Errorf("the simulator's page: %w", err)
	}
}

// virtualBox is the id of the box that --virtual-board adds.
const virtualBox = "box-virt"

// addBoard adds a virtual board to a district.
func addBoard(devices map[string]scenario.Device) error {
	if err := virtboard.Available(); err != nil {
		return fmt.Errorf("--virtual-board: %w", err)
	}
	if _, err := image.FindSource("."); err != nil {
		return fmt.Errorf("--virtual-board: %w", err)
	}
	if _, ok := devices[virtualBox]; ok {
		return fmt.Errorf("--virtual-board: the district has a %s of its own", virtualBox)
	}
	devices[virtualBox] = scenario.Device{
		Kind: "alarm-box", Board: "virt", Name: "虚拟板 (QEMU)", Siren: true,
		Buttons: map[string]scenario.Button{"panic": {Kind: "panic"}, "fire": {Kind: "fire"}, "medical": {Kind: "medical"}},
	}
	return nil
}

//go:embed grid.geojson
var demoGrid []byte

//go:embed roster.yaml
var demoRoster []byte

// demoPlan gives the demonstration its cells, a plan of duty and ten households
// that sound for one another.
func demoPlan(ctx context.Context, d *district.District) error {
	const group = `{"name": "石桥十户", "automatic": true, "sounds_s": 60, "devices": ["box-01", "box-02", "box-03"]}`
	return errors.Join(
		d.Desk.Load(ctx, scenario.DefaultBy, "/grid", "application/geo+json", demoGrid),
		d.Desk.Load(ctx, scenario.DefaultBy, "/roster", "application/yaml", demoRoster),
		d.Desk.Load(ctx, scenario.DefaultBy, "/groups/shiqiao", "application/json", []byte(group)),
	)
}

// demoAccount makes the admin who signs in at the desk, by the centre's own command, with a
// password that is drawn at each start. In a folder that was used before, he gets a one-time
// password.
func demoAccount(ctx context.Context, version, data string) (name, password string, err error) {
	name, password = "demo", rand.Text()
	run := func(in string, args ...string) (string, error) {
		var out, errs bytes.Buffer
		if code := centre(version)(ctx, append([]string{"account"}, args...), strings.NewReader(in), &out, &errs); code != 0 {
			return "", fmt.Errorf("%w: account: %s", district.ErrCentre, strings.TrimSpace(errs.String()))
		}
		return out.String(), nil
	}
	have, err := run("", "list", "--data", data)
	if err != nil {
		return "", "", err
	}
	if !strings.HasPrefix(have, name+" ") && !strings.Contains(have, "\n"+name+" ") {
		_, err = run(password+"\n", "add", "--data", data, "--name", name, "--role", "admin", "--password-stdin")
		return name, password, err
	}
	told, err := run("", "reset", "--data", data, "--name", name)
	_, password, _ = strings.Cut(strings.TrimSpace(told), "\t")
	return name, password, err
}

// interrupted makes an interruption no error.
func interrupted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
