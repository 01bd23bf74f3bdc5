package sms

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// SignatureHeader carries "sha256=" and the HMAC-SHA256 (RFC 2104) of a
// request's body under the shared secret, in hexadecimal digits.
const SignatureHeader = "X-Fengsui-Signature"

const (
	maxBody   = 4 << 10
	minSecret = 16
	patience  = 15 * time.Second // of a request to the gateway
)

// A Gateway describes an SMS gateway that calls the centre's webhook.
type Gateway struct {
	Secret []byte // shared with it, 16 bytes or more
	// URL takes what the centre sends: POST {"to": number, "data": base64}, signed
	// as the gateway's own requests are. "": answers go back in the webhook's
	// answer, and the desk's steps do not go by SMS.
	URL    string
	Client *http.Client // nil: one with a timeout of 15 s
}

// ReadSecret reads the secret from a file that nobody else can read.
func ReadSecret(file string) ([]byte, error) {
	st, err := os.Stat(file)
	if err != nil {
		return nil, fmt.Errorf("SMS secret: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("SMS secret %s: mode %04o: want 0600, so that nobody else can read it", file, st.Mode().Perm())
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("SMS secret: %w", err)
	}
	b = bytes.TrimSpace(b)
	if len(b) < minSecret {
		return nil, fmt.Errorf("SMS secret %s: %d bytes: want %d or more", file, len(b), minSecret)
	}
	return b, nil
}

// sign returns the value of [SignatureHeader].
func sign(secret, body []byte) string {
	m := hmac.New(sha256.New, secret)
	m.Write(body)
	return "sha256=" + hex.EncodeToString(m.Sum(nil))
}

// Webhook returns the handler that a gateway calls for each SMS that comes for
// the centre:
//
//	POST {"from": "+8613800000001", "data": "base64 of the 8-bit data"}
//
// with [SignatureHeader]. The answer is 200 with {"result": "stored"} once the
// alarm is stored, and {"to": …, "answer": base64} beside it when the gateway is
// to send that; 401 for a wrong signature; 422 when the message is not a
// device's, which the gateway may forget; 503 when the centre cannot store, and
// the gateway is to call again. A request that comes again does no harm.
func (d *Desk) Webhook(g Gateway) http.Handler {
	if g.Client == nil {
		g.Client = &http.Client{Timeout: patience}
	}
	if g.URL != "" {
		d.route(store.RouteWebhook, func(ctx context.Context, number string, data []byte) error { return g.send(ctx, number, data) })
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
		if err != nil {
			problem(w, http.StatusRequestEntityTooLarge, "body", "", fmt.Sprintf("at most %d bytes", maxBody))
			return
		}
		given := r.Header.Get(SignatureHeader)
		if !hmac.Equal([]byte(sign(g.Secret, body)), []byte(strings.ToLower(given))) {
			d.received.WithLabelValues(store.RouteWebhook, "unsigned").Inc()
			problem(w, http.StatusUnauthorized, SignatureHeader, cut(given, 80), "sha256= and the HMAC-SHA256 of the body under the shared secret")
			return
		}
		from, data, field, want := readText(body)
		if field != "" {
			problem(w, http.StatusUnprocessableEntity, field, cut(string(body), 80), want)
			return
		}
		answer, err := d.Take(r.Context(), store.RouteWebhook, from, data)
		switch {
		case errors.Is(err, ErrRefused):
			problem(w, http.StatusUnprocessableEntity, "data", cut(err.Error(), 200), "an alarm that a registered device has signed")
			return
		case err != nil:
			d.o.Log.Error("SMS not stored; the gateway is to give it again", "error", err)
			problem(w, http.StatusServiceUnavailable, "data", "", "the same request again, later: the centre cannot store")
			return
		}
		out := map[string]string{"result": "stored"}
		if g.URL == "" {
			out["to"], out["answer"] = from, base64.StdEncoding.EncodeToString(answer)
		} else if d.send(r.Context(), store.RouteWebhook, from, answer) != nil {
			out["result"] = "stored, not answered" // the device asks again
		}
		reply(w, "application/json", http.StatusOK, out)
	})
}

// readText reads a request's body; field is "" unless something is wrong.
func readText(body []byte) (from string, data []byte, field, want string) {
	var m struct {
		From *string `json:"from"`
		Data *string `json:"data"`
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&m); err != nil || dec.More() {
		return "", nil, "body", `one JSON object with "from" and "data"`
	}
	if m.From == nil || *m.From == "" || len(*m.From) > 32 {
		return "", nil, "from", "the sender's number, at most 32 bytes"
	}
	if m.Data == nil {
		return "", nil, "data", "base64 of the 8-bit data"
	}
	data, err := base64.StdEncoding.DecodeString(*m.Data)
	if err != nil {
		return "", nil, "data", "base64 of the 8-bit data"
	}
	return *m.From, data, "", ""
}

// send has the gateway send an SMS.
func (g *Gateway) send(ctx context.Context, number string, data []byte) error {
	body, err := json.Marshal(map[string]string{"to": number, "data": base64.StdEncoding.EncodeToString(data)})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, g.URL, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("SMS gateway: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(SignatureHeader, sign(g.Secret, body))
	res, err := g.Client.Do(req)
	if err != nil {
		return fmt.Errorf("SMS gateway: %w", err)
	}
	defer res.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, maxBody)) // so that the connection is used again
	if res.StatusCode/100 != 2 {
		return fmt.Errorf("SMS gateway: %s: want 2xx", res.Status)
	}
	return nil
}

// problem answers with an RFC 9457 problem document, as the rest of the API does.
func problem(w http.ResponseWriter, status int, field, value, want string) {
	reply(w, "application/problem+json", status, map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status,
		"detail": fmt.Sprintf("%s %q: want %s", field, value, want), "field": field, "value": value, "want": want,
	})
}

func reply(w http.ResponseWriter, contentType string, status int, v any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked may have gone
}
