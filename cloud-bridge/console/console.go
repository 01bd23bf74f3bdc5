// Package console is the dispatch desk: the centre's HTTP API, its live stream, and the
// page on which alarms are taken and units sent.
//
// It shows what the store holds and passes on what a person decides; each judgement of an
// incident's states is the store's. It keeps nothing itself. Who may do what, package
// account says; each route has its rule in one table (gate.go), and one without a rule is
// refused. It listens on nothing: mount the handler, or use Server.
//
// The API is described by openapi.yaml, which it serves. Everything that a device or a
// person wrote reaches the page as text, never as markup, and the page runs no script but
// its own (a content security policy without inline script or foreign origins).
package console

import (
	"context"
	"crypto/ed25519"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
)

//go:embed openapi.yaml
var openAPI []byte

// Options are what a Console is made of.
type Options struct {
	Store    Store                       // required
	Accounts *account.Service            // required
	OIDC     *OIDC                       // nil: people sign in with passwords only
	Grid     Grid                        // nil: accounts that are bound to a part of it see nothing
	Proxies  []netip.Prefix              // whose X-Forwarded-For and X-Forwarded-Proto are believed
	Metrics  http.Handler                // answers /metrics; nil: there are none
	SMS      http.Handler                // takes a gateway's SMS, which it signs itself; nil: there is no gateway
	SMSModem func() string               // the state of the centre's own modem, for its health; nil: it has none
	Ready    func(context.Context) error // why events cannot be stored now; nil: always ready
	Zone     *time.Location              // the district's, in which its pages show times; nil: Asia/Shanghai
	MapStyle string                      // http(s) URL of a MapLibre style; empty: the built-in backdrop
	Version  string                      // of the program; open pages load themselves anew when it changes
	Key      ed25519.PrivateKey          // the centre's: signs exports; nil: there are none
	Policy   incident.Policy             // what may take how long; nil: the default
	FixLimit time.Duration               // a unit's fix that is older is never offered as near; 0: two minutes
	Log      *slog.Logger                // nil: discarded
}

// Console serves the desk. It is safe for concurrent use.
type Console struct {
	options    Options
	log        *slog.Logger
	catalogues map[string]catalogue
	pages      map[string]*template.Template
	signin     map[string]*template.Template
	account    map[string]*template.Template
	duty       map[string]*template.Template
	stats      map[string]*template.Template
	assets     *assets
	policy     string
	mux        *http.ServeMux
	handler    http.Handler

	closed    chan struct{}
	closeOnce sync.Once
}

// New makes a Console. It fails on an unusable MapStyle and on files that were built
// into the program wrongly.
func New(options Options) (*Console, error) {
	c := &Console{options: options, log: options.Log, closed: make(chan struct{})}
	if options.Store == nil {
		return nil, errors.New("console: Store is required")
	}
	if options.Accounts == nil {
		return nil, errors.New("console: Accounts is required")
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if c.options.Policy == nil {
		c.options.Policy = incident.DefaultPolicy()
	}
	if c.options.Zone == nil {
		if c.options.Zone, err = time.LoadLocation("Asia/Shanghai"); err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
	}
	if c.options.FixLimit == 0 {
		c.options.FixLimit = 2 * time.Minute
	}
	if c.policy, err = contentPolicy(options.MapStyle); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	if c.catalogues, err = loadCatalogues(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	for _, page := range []struct {
		into   *map[string]*template.Template
		source string
	}{{&c.pages, pageSource}, {&c.signin, signinSource}, {&c.account, accountSource}, {&c.duty, dutySource}, {&c.stats, statsSource}} {
		if *page.into, err = loadPages(c.catalogues, page.source); err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
	}
	if c.assets, err = loadAssets(); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.mux = c.routes()
	c.handler = c.protect(http.HandlerFunc(c.route))
	return c, nil
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Close ends the open streams, which would otherwise keep an http.Server from shutting
// down. It may be called more than once; the error is always nil.
func (c *Console) Close() error {
	c.closeOnce.Do(func() { close(c.closed) })
	return nil
}

// Server is an http.Server around the Console, with limits on what a client may take: 5 s
// for the header, 15 s for a request, 30 s for an answer (the stream has its own, per
// write) and 16 KiB of header. Its Shutdown ends the streams.
func (c *Console) Server() *http.Server {
	server := &http.Server{
		Handler:           c,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(c.log.Handler(), slog.LevelWarn),
	}
	server.RegisterOnShutdown(func() { _ = c.Close() })
	return server
}

func (c *Console) routes() *http.ServeMux {
	mux := http.NewServeMux()
	api := func(pattern string, answer func(*http.Request, http.ResponseWriter) (any, error)) {
		mux.HandleFunc(pattern, c.api(answer))
	}
	api("GET /api/v1/incidents", c.listIncidents)
	api("GET /api/v1/incidents/{id}", c.getIncident)
	api("POST /api/v1/incidents/{id}/acknowledge", c.acknowledge)
	api("POST /api/v1/incidents/{id}/dispatch", c.dispatch)
	api("POST /api/v1/incidents/{id}/close", c.closeIncident)
	api("POST /api/v1/incidents/{id}/take_over", c.stepWith(incident.StepTakeOver, "from"))
	api("POST /api/v1/incidents/{id}/add_unit", c.addUnit)
	api("POST /api/v1/incidents/{id}/en_route", c.stepWith(incident.StepEnRoute, "unit", "note"))
	api("POST /api/v1/incidents/{id}/on_scene", c.stepWith(incident.StepOnScene, "unit", "note"))
	api("POST /api/v1/incidents/{id}/checked", c.stepWith(incident.StepChecked, "unit", "note"))
	api("POST /api/v1/incidents/{id}/note", c.stepWith(incident.StepNote, "note"))
	api("POST /api/v1/incidents/{id}/cancel", c.stepWith(incident.StepCancel, "reason"))
	api("POST /api/v1/incidents/{id}/suspend", c.stepWith(incident.StepSuspend, "reason"))
	api("POST /api/v1/incidents/{id}/return", c.stepWith(incident.StepReturn, "reason"))
	api("POST /api/v1/incidents/{id}/approve", c.stepWith(incident.StepApprove))
	api("POST /api/v1/incidents/{id}/deny", c.stepWith(incident.StepDeny, "reason"))
	api("POST /api/v1/incidents/{id}/resume", c.stepWith(incident.StepResume, "reason"))
	api("POST /api/v1/incidents/{id}/sound", c.sound(true))
	api("POST /api/v1/incidents/{id}/hush", c.sound(false))
	api("GET /api/v1/incidents/{id}/sounds", c.listSounds)
	api("GET /api/v1/incidents/{id}/units", c.chooseUnits)
	api("GET /api/v1/incidents/{id}/attachments", c.listAttachments)
	mux.HandleFunc("GET /api/v1/incidents/{id}/audit", c.getIncidentAudit)
	mux.HandleFunc("GET /api/v1/incidents/{id}/evidence", c.getEvidence)
	mux.HandleFunc("GET /api/v1/attachments/{id}", c.getAttachment)
	mux.HandleFunc("GET /api/v1/audit", c.getAudit)
	api("GET /api/v1/units", c.listUnits)
	api("POST /api/v1/units/{id}/state", c.setUnit)
	api("GET /api/v1/grid", c.getGrid)
	api("PUT /api/v1/grid", c.putGrid)
	api("GET /api/v1/groups", c.listGroups)
	api("PUT /api/v1/groups/{id}", c.putGroup)
	api("DELETE /api/v1/groups/{id}", c.dropGroup)
	api("GET /api/v1/drills", c.listDrills)
	api("POST /api/v1/drills", c.setDrill)
	api("GET /api/v1/exercises", c.listExercises)
	api("GET /api/v1/exercises/{id}", c.getExercise)
	mux.HandleFunc("GET /api/v1/exercises/{id}/csv", c.getExerciseCSV)
	api("GET /api/v1/roster", c.getRoster)
	api("PUT /api/v1/roster", c.putRoster)
	api("GET /api/v1/duty", c.listDuty)
	api("GET /api/v1/rounds", c.listRounds)
	api("GET /api/v1/policy", c.getPolicy)
	api("GET /api/v1/stats", c.getStats)
	mux.HandleFunc("GET /api/v1/stats.csv", c.getStatsCSV)
	api("GET /api/v1/devices", c.listDevices)
	api("GET /api/v1/summary", c.getSummary)
	api("GET /api/v1/devices/{id}", c.getDevice)
	api("GET /api/v1/devices/{id}/gaps", c.getDeviceGaps)
	api("GET /api/v1/devices/{id}/fingers", c.listFingers)
	api("GET /api/v1/devices/{id}/events", c.listEvents)
	api("GET /api/v1/devices/{id}/track", c.getTrack)
	api("GET /api/v1/gaps", c.listGaps)
	api("GET /api/v1/refused", c.getRefused)
	if c.options.SMS != nil {
		mux.Handle("POST /api/v1/sms", c.options.SMS)
	}
	mux.HandleFunc("GET /api/v1/stream", c.stream)
	mux.HandleFunc("GET /api/v1/openapi.yaml", serveOpenAPI)
	c.accountRoutes(mux, api)
	api("GET /healthz", c.healthz)
	api("GET /readyz", c.readyz)
	if c.options.Metrics != nil {
		mux.Handle("GET /metrics", c.options.Metrics)
	}
	mux.HandleFunc("GET /assets/{hash}/{path...}", c.serveAsset)
	mux.HandleFunc("GET /{$}", c.servePage)
	mux.HandleFunc("GET /duty", func(w http.ResponseWriter, r *http.Request) { c.serveOf(w, r, "duty", c.duty) })
	mux.HandleFunc("GET /stats", func(w http.ResponseWriter, r *http.Request) { c.serveOf(w, r, "stats", c.stats) })
	return mux
}

// protect sets the headers that every answer carries, and refuses requests that a
// foreign page makes a browser send.
func (c *Console) protect(next http.Handler) http.Handler {
	foreign := http.NewCrossOriginProtection()
	foreign.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { writeProblem(w, foreignProblem(r)) }))
	next = foreign.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Content-Security-Policy", c.policy)
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("Referrer-Policy", "same-origin") // without one, a form of ours has the origin "null"
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Permissions-Policy", "camera=(), microphone=(), geolocation=()")
		if r.TLS != nil {
			header.Set("Strict-Transport-Security", "max-age=31536000") // RFC 6797
		}
		next.ServeHTTP(w, r)
	})
}

// route lets the mux find the handler, and makes problem documents of its own refusals.
func (c *Console) route(w http.ResponseWriter, r *http.Request) {
	handler, pattern := c.mux.Handler(r)
	if pattern != "" {
		c.gate(w, r, pattern)
		return
	}
	var refusal refusalWriter
	handler.ServeHTTP(&refusal, r)
	switch refusal.status {
	case http.StatusMethodNotAllowed:
		allow := refusal.Header().Get("Allow")
		w.Header().Set("Allow", allow)
		p := problemf(refusal.status, "%s is not for %s: want %s", shorten(r.Method), shorten(r.URL.Path), allow)
		p.Field, p.Value, p.Want = "method", shorten(r.Method), allow
		writeProblem(w, p)
	case http.StatusNotFound:
		writeProblem(w, problemf(refusal.status, "there is nothing at %s", shorten(r.URL.Path)))
	default: // a redirect to the clean path
		c.mux.ServeHTTP(w, r)
	}
}

// refusalWriter keeps an answer's status and header, and drops its body.
type refusalWriter struct {
	header http.Header
	status int
}

// Header implements http.ResponseWriter.
func (w *refusalWriter) Header() http.Header {
	if w.header == nil {
		w.header = make(http.Header)
	}
	return w.header
}

// WriteHeader implements http.ResponseWriter.
func (w *refusalWriter) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *refusalWriter) Write(p []byte) (int, error) { return len(p), nil }
