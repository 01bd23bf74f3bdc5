// Package panel is the simulator's own page and HTTP API: a person or a script
// presses buttons, lays fingers, cuts links and power, and sees lamps.
//
//	GET  /devices                               all devices
//	GET  /devices/{id}                          one: lamps, queue, fix, power, link, officer
//	POST /devices/{id}/button/{name}/press      a whole press of 200 ms
//	POST /devices/{id}/button/{name}/release    the end of a held press
//	POST /devices/{id}/button/{name}/cut|short|mend   the cable of a supervised button
//	POST /devices/{id}/input/{role}/trip|restore   tamper, mains, battery-low, test-key, check-in
//	POST /devices/{id}/finger/{slot}            lays a finger for 700 ms; 0 or unknown: one that the reader does not know
//	POST /devices/{id}/reader/unplug|plug       the fingerprint reader
//	POST /devices/{id}/link/cut|restore|blackhole
//	POST /devices/{id}/power/cut|restore
//	POST /devices/{id}/gps/drive|park|lose      on its route, where it is, without a fix
//	GET  /centre                                {"running": true}
//	POST /centre/kill|start                     as a power cut kills it; start answers when it is ready
//	GET  /ledger                                what was injected
//	GET  /stream                                server-sent events: hello, then device with each change
//
// Options of a press are query parameters, or members of a JSON body: bounce
// (true: the contact bounces), hold (true: it stays closed until release) and
// for (a duration such as 2s). release takes bounce, finger takes for. Every
// POST answers when the thing has been done at the device's outside, with the
// device as it is then; what the device makes of it comes later. Errors are RFC
// 9457 problem documents that name field, value and what would be right.
//
// The package listens on nothing and keeps no state: mount the handler.
package panel

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/sim/district"
	"github.com/fengsui/fengsui/sim/link"
)

// A Panel is the handler. Make it with New.
type Panel struct {
	d       *district.District
	log     *slog.Logger
	handler http.Handler
	closed  chan struct{}
}

// New returns the page and the API of a district.
func New(d *district.District, log *slog.Logger) (*Panel, error) {
	p := &Panel{d: d, log: log, closed: make(chan struct{})}
	mux := http.NewServeMux()
	route := func(method, pattern string, h http.HandlerFunc) {
		mux.HandleFunc(method+" "+pattern, h)
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", method)
			writeProblem(w, bad(http.StatusMethodNotAllowed, "method", r.Method, method))
		})
	}
	if err := p.page(route); err != nil {
		return nil, err
	}
	route(http.MethodGet, "/devices", p.devices)
	route(http.MethodGet, "/devices/{id}", p.one(nil, func(*district.Device, *http.Request, options) error { return nil }))
	route(http.MethodPost, "/devices/{id}/button/{name}/{verb}", p.one(words("bounce hold for"), pressed))
	route(http.MethodPost, "/devices/{id}/input/{role}/{verb}", p.one(nil, tripped))
	route(http.MethodPost, "/devices/{id}/finger/{slot}", p.one(words("for"), finger))
	route(http.MethodPost, "/devices/{id}/reader/{verb}", p.one(nil, reader))
	route(http.MethodPost, "/devices/{id}/link/{verb}", p.one(nil, linked))
	route(http.MethodPost, "/devices/{id}/sms/{verb}", p.one(nil, texted))
	route(http.MethodPost, "/devices/{id}/power/{verb}", p.one(nil, powered))
	route(http.MethodPost, "/devices/{id}/gps/{verb}", p.one(nil, moved))
	route(http.MethodGet, "/centre", p.centre)
	route(http.MethodPost, "/centre/{verb}", p.centre)
	route(http.MethodGet, "/ledger", p.ledger)
	route(http.MethodGet, "/stream", p.stream)
	route(http.MethodGet, "/healthz", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, "application/json", http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, bad(http.StatusNotFound, "path", r.URL.Path, "a path of the simulator, such as /devices"))
	})
	guard := http.NewCrossOriginProtection() // a foreign page must not press buttons
	guard.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeProblem(w, problemf(http.StatusForbidden, "%s %s comes from another site's page: want the simulator's own, or a program", r.Method, r.URL.Path))
	}))
	p.handler = guard.Handler(mux)
	return p, nil
}

// ServeHTTP answers a request.
func (p *Panel) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	p.handler.ServeHTTP(w, r)
}

// Close ends the streams.
func (p *Panel) Close() { close(p.closed) }

func words(s string) []string { return strings.Fields(s) }

// options are what a request asks beside its path.
type options struct {
	bounce, hold bool
	lasts        time.Duration
}

// one answers for the device that the path names, after act has done its work.
func (p *Panel) one(takes []string, act func(*district.Device, *http.Request, options) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		dev, err := p.d.Device(r.PathValue("id"))
		if err != nil {
			writeProblem(w, bad(http.StatusNotFound, "device", r.PathValue("id"), "one of "+list(p.d.IDs())))
			return
		}
		o, err := readOptions(w, r, takes)
		if err == nil {
			err = act(dev, r, o)
		}
		var prob *problem
		switch {
		case err == nil:
			writeJSON(w, "application/json", http.StatusOK, dev.View())
		case errors.As(err, &prob):
			writeProblem(w, prob)
		case errors.Is(err, district.ErrHeld):
			writeProblem(w, bad(http.StatusConflict, "button", r.PathValue("name"), "a button that is not held: release it first"))
		case errors.Is(err, district.ErrNoPart):
			writeProblem(w, bad(http.StatusNotFound, "device", dev.ID, "a device that has this part: "+err.Error()))
		case errors.Is(err, district.ErrClosed):
			writeProblem(w, problemf(http.StatusServiceUnavailable, "the simulator is ending"))
		default:
			p.log.Error("request failed", "path", r.URL.Path, "err", err)
			writeProblem(w, problemf(http.StatusInternalServerError, "%v", err))
		}
	}
}

func list(names []string) string {
	if len(names) > 30 {
		names = append(slices.Clone(names[:30]), "…")
	}
	return strings.Join(names, ", ")
}

// maxBody bounds a request's body, in bytes.
const maxBody = 4 << 10

// readOptions reads the query and the body, which may be empty.
func readOptions(w http.ResponseWriter, r *http.Request, takes []string) (options, error) {
	given := make(map[string]string)
	for name, values := range r.URL.Query() {
		if len(values) != 1 {
			return options{}, bad(http.StatusUnprocessableEntity, name, strings.Join(values, ", "), "the parameter once")
		}
		given[name] = values[0]
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return options{}, bad(http.StatusRequestEntityTooLarge, "body", "", fmt.Sprintf("at most %d bytes", maxBody))
	}
	if len(bytes.TrimSpace(body)) > 0 {
		if ct := r.Header.Get("Content-Type"); !isJSON(ct) {
			return options{}, bad(http.StatusUnsupportedMediaType, "Content-Type", ct, "application/json")
		}
		var members map[string]any
		if err := json.Unmarshal(body, &members); err != nil || members == nil {
			return options{}, bad(http.StatusBadRequest, "body", string(body), "one JSON object")
		}
		for name, v := range members {
			if _, twice := given[name]; twice {
				return options{}, bad(http.StatusUnprocessableEntity, name, fmt.Sprint(v), "it in the query or in the body, not in both")
			}
			given[name] = fmt.Sprint(v)
		}
	}
	var o options
	for name, v := range given {
		var err error
		want := ""
		switch {
		case !slices.Contains(takes, name):
			want = "no options here"
			if len(takes) > 0 {
				want = "one of the options " + strings.Join(takes, ", ")
			}
			return o, bad(http.StatusUnprocessableEntity, name, v, want)
		case name == "for":
			want = "a duration from 1ms to 10m, such as 200ms"
			o.lasts, err = time.ParseDuration(v)
			if err == nil && (o.lasts < time.Millisecond || o.lasts > 10*time.Minute) {
				err = strconv.ErrRange
			}
		default:
			want = "true or false"
			var b bool
			if v != "true" && v != "false" {
				err = strconv.ErrSyntax
			}
			b = v == "true"
			if name == "hold" {
				o.hold = b
			} else {
				o.bounce = b
			}
		}
		if err != nil {
			return o, bad(http.StatusUnprocessableEntity, name, v, want)
		}
	}
	return o, nil
}

func isJSON(contentType string) bool {
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && media == "application/json"
}

func pressed(d *district.Device, r *http.Request, o options) error {
	name := r.PathValue("name")
	if _, ok := d.Spec.Buttons[name]; !ok {
		var names []string
		for n := range d.Spec.Buttons {
			names = append(names, n)
		}
		slices.Sort(names)
		want := "one of " + list(names)
		if len(names) == 0 {
			want = "a device with buttons: " + d.ID + " has none"
		}
		return bad(http.StatusNotFound, "button", name, want)
	}
	switch verb := r.PathValue("verb"); {
	case verb == "press" && o.hold && o.lasts != 0:
		return bad(http.StatusUnprocessableEntity, "for", o.lasts.String(), "either hold=true, until release, or for")
	case verb == "press":
		_, err := d.Press(r.Context(), name, district.PressOptions{Bounce: o.bounce, Hold: o.hold, For: o.lasts})
		return err
	case verb == "release" && (o.hold || o.lasts != 0):
		return bad(http.StatusUnprocessableEntity, "hold", "", "no option of release but bounce")
	case verb == "release":
		return d.Release(name, o.bounce)
	case d.Spec.Buttons[name].Supervised && (verb == "cut" || verb == "short"):
		return d.Wire(name, district.Wire(verb))
	case d.Spec.Buttons[name].Supervised && verb == "mend":
		return d.Wire(name, district.Sound)
	default:
		want := "press or release"
		if d.Spec.Buttons[name].Supervised {
			want = "press, release, cut, short or mend"
		}
		return bad(http.StatusNotFound, "verb", verb, want)
	}
}

func tripped(d *district.Device, r *http.Request, _ options) error {
	role := r.PathValue("role")
	if !slices.Contains(d.Spec.Inputs, role) {
		want := "one of " + list(d.Spec.Inputs)
		if len(d.Spec.Inputs) == 0 {
			want = "a device with inputs: " + d.ID + " has none"
		}
		return bad(http.StatusNotFound, "input", role, want)
	}
	switch verb := r.PathValue("verb"); verb {
	case "trip", "restore":
		return d.Trip(role, verb == "trip")
	default:
		return bad(http.StatusNotFound, "verb", verb, "trip or restore")
	}
}

func reader(d *district.Device, r *http.Request, _ options) error {
	switch verb := r.PathValue("verb"); verb {
	case "unplug", "plug":
		return d.PlugReader(verb == "plug")
	default:
		return bad(http.StatusNotFound, "verb", verb, "unplug or plug")
	}
}

func finger(d *district.Device, r *http.Request, o options) error {
	text := r.PathValue("slot")
	slot, err := strconv.Atoi(text)
	if text == "unknown" {
		slot, err = 0, nil
	}
	if err != nil || slot < 0 || slot > 65535 {
		return bad(http.StatusUnprocessableEntity, "slot", text, "a slot's number, or unknown for a finger that the reader does not know")
	}
	_, err = d.Finger(r.Context(), slot, o.lasts)
	return err
}

func linked(d *district.Device, r *http.Request, _ options) error {
	verbs := map[string]link.State{"cut": link.Cut, "restore": link.Up, "blackhole": link.BlackHoled}
	s, ok := verbs[r.PathValue("verb")]
	if !ok {
		return bad(http.StatusNotFound, "verb", r.PathValue("verb"), "cut, restore or blackhole")
	}
	return d.Link(s)
}

func texted(d *district.Device, r *http.Request, _ options) error {
	switch verb := r.PathValue("verb"); verb {
	case "cut", "restore":
		return d.SMS(verb == "restore")
	default:
		return bad(http.StatusNotFound, "verb", verb, "cut or restore")
	}
}

func powered(d *district.Device, r *http.Request, _ options) error {
	switch verb := r.PathValue("verb"); verb {
	case "cut":
		d.PowerCut()
		return nil
	case "restore":
		return d.PowerRestore()
	default:
		return bad(http.StatusNotFound, "verb", verb, "cut or restore")
	}
}

func moved(d *district.Device, r *http.Request, _ options) error {
	switch verb := r.PathValue("verb"); verb {
	case "drive":
		if d.Spec.Drive == nil {
			return bad(http.StatusNotFound, "device", d.ID, "a device that has a route to drive")
		}
		return d.Drive(*d.Spec.Drive)
	case "park":
		return d.Park()
	case "lose":
		return d.LoseFix()
	default:
		return bad(http.StatusNotFound, "verb", verb, "drive, park or lose")
	}
}

// centre kills the centre or starts it, and says whether it runs.
func (p *Panel) centre(w http.ResponseWriter, r *http.Request) {
	switch verb := r.PathValue("verb"); verb {
	case "":
	case "kill":
		p.d.Centre.Kill()
	case "start":
		if err := p.d.Centre.Start(r.Context()); err != nil {
			p.log.Error("request failed", "path", r.URL.Path, "err", err)
			writeProblem(w, problemf(http.StatusInternalServerError, "%v", err))
			return
		}
	default:
		writeProblem(w, bad(http.StatusNotFound, "verb", verb, "kill or start"))
		return
	}
	writeJSON(w, "application/json", http.StatusOK, map[string]bool{"running": p.d.Centre.Running()})
}

func (p *Panel) views() []district.View {
	var views []district.View
	for _, id := range p.d.IDs() {
		if d, err := p.d.Device(id); err == nil {
			views = append(views, d.View())
		}
	}
	return views
}

func (p *Panel) devices(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, "application/json", http.StatusOK, map[string]any{"devices": p.views()})
}
