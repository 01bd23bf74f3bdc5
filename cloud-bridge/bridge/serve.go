package bridge

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/fengsui/fengsui/cloud-bridge/account"
	"github.com/fengsui/fengsui/cloud-bridge/broker"
	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/escalate"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/ingest"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/cloud-bridge/supervise"
)

const (
	storeFile = "centre.db"
	shutdown  = 5 * time.Second
)

type options struct {
	data, http, mqtt, broker, devices, mapStyle, version string
	cert, key, oidc                                      string
	proxies                                              []netip.Prefix
	idle, life                                           time.Duration
	supervise                                            supervise.Limits
	sms                                                  smsOptions
	policy                                               incident.Policy
	fixLimit                                             time.Duration
	zone                                                 *time.Location // the district\'s; nil: Asia/Shanghai
}

func serveOptions(args []string) (options, error) {
	o := options{supervise: supervise.DefaultLimits(), policy: incident.DefaultPolicy()}
	var proxies string
	err := parse(args, &o.data, func(f *flag.FlagSet) {
		f.StringVar(&o.cert, "tls-cert", "", "")
		f.StringVar(&o.key, "tls-key", "", "")
		f.StringVar(&o.oidc, "oidc", "", "")
		f.StringVar(&proxies, "proxy", "", "")
		f.DurationVar(&o.idle, "session-idle", account.DefaultIdle, "")
		f.DurationVar(&o.life, "session-life", account.DefaultLife, "")
		f.StringVar(&o.http, "http-addr", "127.0.0.1:8080", "")
		f.StringVar(&o.mqtt, "mqtt-addr", "127.0.0.1:1883", "")
		f.StringVar(&o.broker, "broker", "embedded", "")
		f.StringVar(&o.devices, "devices", "", "")
		f.StringVar(&o.mapStyle, "map-style", "", "")
		f.DurationVar(&o.supervise.Suspect, "suspect", o.supervise.Suspect, "")
		f.DurationVar(&o.supervise.Offline, "offline", o.supervise.Offline, "")
		f.DurationVar(&o.supervise.Grace, "grace", o.supervise.Grace, "")
		f.IntVar(&o.supervise.Least, "district-least", o.supervise.Least, "")
		f.Float64Var(&o.supervise.Share, "district-share", o.supervise.Share, "")
		o.sms.define(f)
		f.Func("ack-within", "", target(o.policy, func(t *incident.Targets) *time.Duration { return &t.Acknowledge }))
		f.Func("dispatch-within", "", target(o.policy, func(t *incident.Targets) *time.Duration { return &t.Dispatch }))
		f.Func("arrive-within", "", target(o.policy, func(t *incident.Targets) *time.Duration { return &t.Arrive }))
		f.DurationVar(&o.fixLimit, "fix-limit", 2*time.Minute, "")
		f.Func("zone", "", func(name string) (err error) {
			if o.zone, err = time.LoadLocation(name); err != nil || name == "" || name == "Local" {
				return errors.New("want a time zone such as Asia/Shanghai")
			}
			return nil
		})
	})
	if err == nil {
		err = o.sms.validate()
	}
	if err == nil {
		o.proxies, err = parseProxies(proxies)
	}
	switch {
	case err != nil:
	case (o.cert == "") != (o.key == ""):
		err = fmt.Errorf("%w: want --tls-cert and --tls-key together", errUsage)
	case o.idle < time.Minute || o.life < o.idle:
		err = fmt.Errorf("%w: --session-idle %v, --session-life %v: want 1m or more, and a life no shorter than idle", errUsage, o.idle, o.life)
	}
	if err == nil {
		o.supervise.Every = min(o.supervise.Every, o.supervise.Suspect/5)
		if err = o.supervise.Validate(); err != nil {
			err = fmt.Errorf("%w: %w", errUsage, err)
		}
		if o.fixLimit < time.Second || o.fixLimit > time.Hour {
			err = errors.Join(err, fmt.Errorf("%w: --fix-limit %s: want 1s to 1h", errUsage, o.fixLimit))
		}
	}
	return o, err
}

// serve runs the centre until ctx ends or a part cannot go on, and returns when
// everything that it started has stopped.
func serve(ctx context.Context, o options, std streams) (err error) {
	log := slog.New(slog.NewTextHandler(std.err, nil))
	unlock, err := lockFolder(o.data)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	key, err := loadOrCreateKey(o.data)
	if err != nil {
		return err
	}
	st, err := store.Open(ctx, filepath.Join(o.data, storeFile), nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, st.Shut()) }()
	if o.devices != "" {
		if err := registerFile(ctx, st, o.devices); err != nil {
			return err
		}
	}
	accounts, err := account.New(ctx, account.Options{Keeper: st, Idle: o.idle, Life: o.life, Record: recordIn(ctx, st, log), Log: log})
	if err != nil {
		return err
	}
	var secure *tls.Config
	if o.cert != "" {
		cert, err := loadCertificate(o.cert, o.key, log)
		if err != nil {
			return err
		}
		secure = &tls.Config{GetCertificate: cert.get}
	}
	var provider *console.OIDC
	if o.oidc != "" {
		if provider, err = openProvider(o.oidc); err != nil {
			return err
		}
	}
	source, mqtt, accept, closeSource, err := openSource(o, log)
	if err != nil {
		return err
	}
	defer closeSource()
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	in := ingest.New(ingest.Options{Store: st, Source: source, Key: key, Registry: metrics, Log: log})
	second, err := o.sms.open(o.data, st, key, metrics, log)
	if err != nil {
		return err
	}
	desk, err := console.New(console.Options{
		Store: st, Accounts: accounts, OIDC: provider, Proxies: o.proxies, SMS: second.hook, SMSModem: second.modem, Version: o.version, Zone: o.zone, MapStyle: o.mapStyle, Log: log,
		Key: key, Policy: o.policy, FixLimit: o.fixLimit, Grid: st,
		Metrics: promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}),
		Ready: func(ctx context.Context) error {
			if err := st.Writable(ctx); err != nil {
				return err
			}
			return in.Ready()
		},
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", o.http)
	if err != nil {
		return fmt.Errorf("desk: %w", err)
	}
	web := desk.Server()
	scheme, serveWeb := "http", web.Serve
	if secure != nil {
		web.TLSConfig = secure
		scheme, serveWeb = "https", func(l net.Listener) error { return web.ServeTLS(l, "", "") }
	}
	// Before anybody can connect: the first admin is whoever reads the centre's output.
	if name, oneTime, err := accounts.FirstAdmin(ctx); err != nil {
		return errors.Join(err, listener.Close())
	} else if name != "" {
		fmt.Fprintf(std.out, "first admin: name=%s one-time-password=%s\n", name, oneTime)
	}

	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var parts sync.WaitGroup
	parts.Go(func() {
		if err := serveWeb(listener); !errors.Is(err, http.ErrServerClosed) {
			stop(fmt.Errorf("desk: %w", err))
		}
	})
	parts.Go(func() { st.Guard(ctx) })
	parts.Go(func() { second.run(ctx) })
	parts.Go(func() { accounts.Run(ctx) })
	parts.Go(func() { escalate.Run(ctx, st, o.policy, log) })
	parts.Go(func() {
		hearing := func() supervise.Hearing {
			switch {
			case source.Ready() != nil:
				return supervise.NoBroker
			case in.Ready() != nil, st.Trouble() != nil:
				return supervise.NoStore
			}
			return supervise.Hears
		}
		supervise.Run(ctx, st, o.supervise, hearing, log)
	})
	parts.Go(func() {
		started := func() {
			accept()
			fmt.Fprintf(std.out, "ready desk=%s://%s mqtt=%s\n", scheme, reachable(listener.Addr().String()), mqtt)
		}
		if err := in.Run(ctx, started); err != nil {
			stop(err)
		}
	})
	<-ctx.Done()
	late, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdown)
	defer cancel()
	err = web.Shutdown(late)
	parts.Wait()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	return err
}

// openSource returns where messages come from, the address that devices
// connect to, and what lets them in.
func openSource(o options, log *slog.Logger) (src ingest.Source, mqtt string, accept, closeAll func(), err error) {
	if o.broker != "embedded" {
		m, err := ingest.NewMQTT(o.broker, rand.Text()[:8], log)
		if err != nil {
			return nil, "", nil, nil, fmt.Errorf("%w: --broker: %w", errUsage, err)
		}
		return m, m.Server(), func() {}, m.Close, nil
	}
	b, err := broker.Start(filepath.Join(o.data, "broker"), o.mqtt, log)
	if err != nil {
		return nil, "", nil, nil, err
	}
	n, err := ingest.NewNATS(b)
	if err != nil {
		b.Stop()
		return nil, "", nil, nil, err
	}
	return n, reachable(b.Address()), b.Accept, func() { n.Close(); b.Stop() }, nil
}

// reachable returns an address that can be connected to from this machine,
// where the listener takes any.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsUnspecified() {
		return address
	}
	return net.JoinHostPort("127.0.0.1", port)
}
