package bridge

import (
	"context"
	"crypto/ed25519"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/sms"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// smsOptions say where alarms come by SMS; the zero value is nowhere.
type smsOptions struct {
	port, pin, secret, gateway string
	baud                       int
}

func (o *smsOptions) define(f *flag.FlagSet) {
	f.StringVar(&o.port, "sms-modem", "", "")
	f.IntVar(&o.baud, "sms-baud", 115200, "")
	f.StringVar(&o.pin, "sms-pin", "", "")
	f.StringVar(&o.secret, "sms-secret", "", "")
	f.StringVar(&o.gateway, "sms-gateway", "", "")
}

func (o *smsOptions) validate() error {
	bad := func(flag, value, want string) error {
		return fmt.Errorf("%w: --%s %q: want %s", errUsage, flag, value, want)
	}
	switch {
	case o.baud < 1200 || o.baud > 921600:
		return bad("sms-baud", fmt.Sprint(o.baud), "1200 to 921600")
	case o.pin != "" && o.port == "":
		return bad("sms-pin", strings.Repeat("*", len(o.pin)), "--sms-modem beside it")
	case o.gateway != "" && o.secret == "":
		return bad("sms-gateway", o.gateway, "--sms-secret beside it")
	}
	if o.pin != "" && (len(o.pin) < 4 || len(o.pin) > 8 || strings.Trim(o.pin, "0123456789") != "") {
		return bad("sms-pin", strings.Repeat("*", len(o.pin)), "4 to 8 digits")
	}
	if u, err := url.Parse(o.gateway); o.gateway != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "") {
		return bad("sms-gateway", o.gateway, "an http or https address")
	}
	return nil
}

// A secondPath takes alarms by SMS.
type secondPath struct {
	run   func(context.Context) // until ctx ends
	hook  http.Handler          // for the gateway, or nil
	modem func() string         // the state of the centre's modem, or nil
}

// open makes the second path; dir is the centre's folder.
func (o *smsOptions) open(dir string, st *store.Store, key ed25519.PrivateKey, metrics prometheus.Registerer, log *slog.Logger) (secondPath, error) {
	p := secondPath{run: func(context.Context) {}}
	if o.port == "" && o.secret == "" {
		return p, nil
	}
	desk := sms.New(sms.Options{Store: st, Key: key, Registry: metrics, Log: log})
	if o.secret != "" {
		secret, err := sms.ReadSecret(o.secret)
		if err != nil {
			return p, err
		}
		p.hook = desk.Webhook(sms.Gateway{Secret: secret, URL: o.gateway})
	}
	if o.port != "" {
		p.modem = func() string { return string(desk.ModemState()) }
	}
	p.run = func(ctx context.Context) {
		var parts sync.WaitGroup
		parts.Go(func() { desk.Run(ctx) })
		if o.port != "" {
			m := sms.Modem{Open: sms.Serial(o.port, o.baud), PIN: o.pin, Tries: filepath.Join(dir, "sms-pin-tries")}
			parts.Go(func() { desk.RunModem(ctx, m) })
		}
		parts.Wait()
	}
	return p, nil
}
