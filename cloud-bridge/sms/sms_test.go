package sms_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fengsui/fengsui/cloud-bridge/sms"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	deviceKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	centreKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	secret    = []byte("a secret of the gateway")
)

const box = "+8613800000001"

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func open(t *testing.T) (*store.Store, *sms.Desk) {
	t.Helper()
	s, err := store.Open(t.Context(), filepath.Join(t.TempDir(), "centre.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Shut(); err != nil {
			t.Error(err)
		}
	})
	if err := s.Register(t.Context(), store.Registration{ID: "box-01", Kind: store.AlarmBox, Key: pub(deviceKey), At: &store.Point{Lat: 30, Lon: 103}}); err != nil {
		t.Fatal(err)
	}
	return s, sms.New(sms.Options{
		Store: s, Key: centreKey, Registry: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler), Patience: time.Millisecond,
	})
}

func alarm(t *testing.T, device string, key ed25519.PrivateKey, press uint64) []byte {
	t.Helper()
	msg, err := wire.SealSMSAlarm(&wire.SMSAlarm{
		Device: device, Stream: wire.StreamID{1}, Seq: press, Alarm: wire.AlarmID{7}, Kind: wire.Panic, Press: press, Boot: 1, Mono: time.Second,
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	return msg
}

func call(t *testing.T, h http.Handler, body, signature string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/api/v1/sms", strings.NewReader(body))
	r.Header.Set(sms.SignatureHeader, signature)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	var m map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil {
		t.Errorf("answer %q: %v", w.Body, err)
	}
	return w.Code, m
}

func signed(body string) string {
	m := hmac.New(sha256.New, secret)
	m.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

func request(data []byte) string {
	b, _ := json.Marshal(map[string]string{"from": box, "data": base64.StdEncoding.EncodeToString(data)})
	return string(b)
}

func incidents(t *testing.T, s *store.Store) int {
	t.Helper()
	is, err := s.Incidents(t.Context(), store.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	return len(is)
}

func TestWebhook(t *testing.T) {
	s, d := open(t)
	h := d.Webhook(sms.Gateway{Secret: secret})
	good := request(alarm(t, "box-01", deviceKey, 1))
	for range 2 { // again does no harm
		code, m := call(t, h, good, signed(good))
		text, _ := m["answer"].(string)
		data, err := base64.StdEncoding.DecodeString(text)
		if err != nil || code != http.StatusOK || m["to"] != box {
			t.Fatalf("%d %v %v: want 200 with an answer to %s", code, m, err, box)
		}
		a, err := wire.OpenSMSAnswer(data, "box-01", pub(centreKey))
		if err != nil || a.Alarm != (wire.AlarmID{7}) || a.Press != 1 {
			t.Errorf("answer %+v, %v", a, err)
		}
	}
	for name, c := range map[string]struct {
		body, signature string
		code            int
		field           string
	}{
		"unsigned":             {good, "", http.StatusUnauthorized, sms.SignatureHeader},
		"of another body":      {good, signed(good + " "), http.StatusUnauthorized, sms.SignatureHeader},
		"no JSON":              {"x", signed("x"), http.StatusUnprocessableEntity, "body"},
		"an unknown member":    {`{"from":"1","data":"","x":1}`, signed(`{"from":"1","data":"","x":1}`), http.StatusUnprocessableEntity, "body"},
		"no number":            {`{"data":""}`, signed(`{"data":""}`), http.StatusUnprocessableEntity, "from"},
		"no base64":            {`{"from":"1","data":"%"}`, signed(`{"from":"1","data":"%"}`), http.StatusUnprocessableEntity, "data"},
		"an advertisement":     {request([]byte("win!")), signed(request([]byte("win!"))), http.StatusUnprocessableEntity, "data"},
		"another's key":        {request(alarm(t, "box-01", centreKey, 2)), signed(request(alarm(t, "box-01", centreKey, 2))), http.StatusUnprocessableEntity, "data"},
		"an unknown device":    {request(alarm(t, "box-99", deviceKey, 2)), signed(request(alarm(t, "box-99", deviceKey, 2))), http.StatusUnprocessableEntity, "data"},
		"a body of 5000 bytes": {strings.Repeat("x", 5000), "", http.StatusRequestEntityTooLarge, "body"},
	} {
		code, m := call(t, h, c.body, c.signature)
		if code != c.code || m["field"] != c.field || m["want"] == "" {
			t.Errorf("%s: %d %v: want %d of %s", name, code, m, c.code, c.field)
		}
	}
	if n := incidents(t, s); n != 1 {
		t.Errorf("%d incidents: want one", n)
	}
	r, err := s.Refused(t.Context())
	if err != nil || r.ByReason["bad signature"] != 1 || r.ByReason["unknown device"] != 1 || r.ByReason["bad envelope"] != 1 {
		t.Errorf("refusals %+v, %v", r, err)
	}
}

// A centre that cannot store says so, and the gateway's second try finds it.
func TestWebhookWithoutStore(t *testing.T) {
	s, d := open(t)
	h := d.Webhook(sms.Gateway{Secret: secret})
	if err := s.Shut(); err != nil {
		t.Fatal(err)
	}
	body := request(alarm(t, "box-01", deviceKey, 1))
	if code, m := call(t, h, body, signed(body)); code != http.StatusServiceUnavailable {
		t.Errorf("%d %v: want 503", code, m)
	}
}

// With an address of its own, the gateway gets the answer and the desk's steps
// there.
func TestGateway(t *testing.T) {
	s, d := open(t)
	got := make(chan *wire.SMSAnswer, 10)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		var m struct{ To, Data string }
		if r.Header.Get(sms.SignatureHeader) != signed(string(body)) || json.Unmarshal(body, &m) != nil || m.To != box {
			t.Errorf("request %q", body)
		}
		data, _ := base64.StdEncoding.DecodeString(m.Data)
		a, err := wire.OpenSMSAnswer(data, "box-01", pub(centreKey))
		if err != nil {
			t.Error(err)
		}
		got <- a
	}))
	defer gateway.Close()
	h := d.Webhook(sms.Gateway{Secret: secret, URL: gateway.URL})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { d.Run(ctx); close(ended) }()
	body := request(alarm(t, "box-01", deviceKey, 1))
	if code, m := call(t, h, body, signed(body)); code != http.StatusOK || m["answer"] != nil {
		t.Errorf("%d %v", code, m)
	}
	if a := <-got; a.State != 0 {
		t.Errorf("first %+v", a)
	}
	is, err := s.Incidents(t.Context(), store.Filter{})
	if err != nil || len(is) != 1 {
		t.Fatal(is, err)
	}
	if _, err := s.Acknowledge(t.Context(), is[0].ID, "li"); err != nil {
		t.Fatal(err)
	}
	if a := <-got; a.State != wire.NoticeAcknowledged || a.Rev != 2 {
		t.Errorf("after the acknowledgement %+v", a)
	}
	cancel()
	<-ended
}
