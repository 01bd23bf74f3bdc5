// Package desk is a client of the centre's HTTP API, as an outside program
// would write one: it decodes what it needs and trusts nothing else.
//
// It keeps no state but a connection pool and its people's tokens, and it
// retries nothing: a caller that waits for something asks again.
package desk

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// Errors of requests.
var (
	// ErrAnswer means that the centre answered with an error of its own.
	ErrAnswer = errors.New("the desk refuses")
	// ErrAway means that no whole answer came: the centre is not there, or went.
	ErrAway = errors.New("the desk does not answer")
)

// A Client talks to one centre.
type Client struct {
	base string
	http *http.Client
	sign SignIn

	mu     sync.Mutex
	tokens map[string]string // by name
}

// A SignIn returns the token of somebody at the desk.
type SignIn func(ctx context.Context, name string) (token string, err error)

// Reader is the name under which a Client reads.
const Reader = "simulator"

// New returns a client of the centre at a URL such as http://127.0.0.1:8080.
func New(base string, sign SignIn) *Client {
	return &Client{
		base: strings.TrimRight(base, "/"), http: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}},
		sign: sign, tokens: make(map[string]string),
	}
}

// as makes a request come from somebody.
func (c *Client) as(req *http.Request, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tokens[name] == "" {
		token, err := c.sign(req.Context(), name)
		if err != nil {
			return fmt.Errorf("desk: sign in as %q: %w", name, err)
		}
		c.tokens[name] = token
	}
	req.Header.Set("Authorization", "Bearer "+c.tokens[name])
	return nil
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// An Incident is what the desk says of one.
type Incident struct {
	ID      string `json:"id"`
	Rev     uint64 `json:"rev"`
	State   string `json:"state"`
	Kind    string `json:"kind"`
	Silent  bool   `json:"silent"`
	Drill   bool   `json:"drill"`
	Device  string `json:"device"`
	Alarm   string `json:"alarm"`
	Presses uint64 `json:"presses"`
	Officer string `json:"officer"`

	PressedAt Moment    `json:"pressed_at"`
	SMS       *struct{} `json:"sms"`      // nil: nothing of it came by SMS
	Position  *Place    `json:"position"` // nil: not known
}

// A Place is in degrees, WGS 84.
type Place struct {
	Lat    float64 `json:"lat"`
	Lon    float64 `json:"lon"`
	Source string  `json:"source"` // of an incident's
}

// A Moment is when a button was pressed, as well as the centre knows it.
type Moment struct {
	Time          *time.Time `json:"time"` // nil: not known
	Source        string     `json:"source"`
	UncertaintyMS int64      `json:"uncertainty_ms"`
	Corrected     bool       `json:"corrected"`
}

// A Device is what the desk knows of one.
type Device struct {
	ID   string `json:"id"`
	Link Link   `json:"link"`
	Gaps []Gap  `json:"gaps"`

	Faults []Fault `json:"faults"`

	LastFix *Place `json:"last_fix"` // believed; nil: none
}

// A Fault is one that stands.
type Fault struct {
	Code string `json:"code"`
}

// A Link says whether the centre can hear a device.
type Link struct {
	State string `json:"state"`
}

// A Gap is a run of sequence numbers that the desk misses.
type Gap struct {
	Stream string `json:"stream"`
	Lane   string `json:"lane"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	Why    string `json:"why"`
}

// An Event is one row of the centre's database.
type Event struct {
	ID     string          `json:"id"`
	Stream string          `json:"stream"`
	Lane   string          `json:"lane"`
	Seq    uint64          `json:"seq"`
	Boot   uint64          `json:"boot"`
	MonoMS int64           `json:"mono_ms"`
	Type   string          `json:"type"`
	Body   json.RawMessage `json:"body"`

	ReceivedAt time.Time `json:"received_at"`
}

// do sends a request and decodes the answer into out. The error wraps
// [ErrAnswer] when the centre refused, with the problem's own words, and
// [ErrAway] when it did not answer.
func (c *Client) do(ctx context.Context, by, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		b, err := json.Marshal(in)
		if err != nil {
			return fmt.Errorf("desk: %w", err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+"/api/v1"+path, body)
	if err != nil {
		return fmt.Errorf("desk: %w", err)
	}
	if in != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if err := c.as(req, by); err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		var p struct{ Detail string }
		if err := json.NewDecoder(io.LimitReader(resp.Body, 1<<16)).Decode(&p); err != nil || p.Detail == "" {
			p.Detail = resp.Status
		}
		return fmt.Errorf("%w: %s %s: %s", ErrAnswer, method, path, p.Detail)
	}
	whole, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("%w: %s %s: %w", ErrAway, method, path, err)
	}
	if err := json.Unmarshal(whole, out); err != nil {
		return fmt.Errorf("desk: %s %s: %w", method, path, err)
	}
	return nil
}

// Incidents lists all incidents.
func (c *Client) Incidents(ctx context.Context) ([]Incident, error) {
	var a struct{ Incidents []Incident }
	err := c.do(ctx, Reader, http.MethodGet, "/incidents?limit=1000", nil, &a)
	return a.Incidents, err
}

// Devices lists all devices.
func (c *Client) Devices(ctx context.Context) ([]Device, error) {
	var a struct{ Devices []Device }
	err := c.do(ctx, Reader, http.MethodGet, "/devices", nil, &a)
	return a.Devices, err
}

// Acknowledge takes an incident.
func (c *Client) Acknowledge(ctx context.Context, id, by string) error {
	return c.step(ctx, id, "acknowledge", map[string]string{"by": by})
}

// Dispatch sends a unit.
func (c *Client) Dispatch(ctx context.Context, id, by, unit string) error {
	return c.step(ctx, id, "dispatch", map[string]string{"by": by, "unit": unit})
}

// CloseIncident ends an incident with a code.
func (c *Client) CloseIncident(ctx context.Context, id, by, code, note string) error {
	return c.step(ctx, id, "close", map[string]string{"by": by, "code": code, "note": note})
}

func (c *Client) step(ctx context.Context, id, verb string, body map[string]string) error {
	var i Incident
	return c.do(ctx, body["by"], http.MethodPost, "/incidents/"+url.PathEscape(id)+"/"+verb, body, &i)
}

// Load puts a document into its place: a path such as /grid, its media type and
// its bytes.
func (c *Client) Load(ctx context.Context, by, path, media string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("desk: %w", err)
	}
	req.Header.Set("Content-Type", media)
	if err := c.as(req, by); err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrAway, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		detail, _ := io.ReadAll(io.LimitReader(resp.Body, 4096)) // the status says enough
		return fmt.Errorf("%w: PUT %s: %s: %s", ErrAnswer, path, resp.Status, detail)
	}
	return nil
}

// Events returns the events of a device that come after a cursor ("" for all),
// at most 1000, and the next cursor.
func (c *Client) Events(ctx context.Context, device, after string) ([]Event, string, error) {
	path := "/devices/" + url.PathEscape(device) + "/events?limit=1000"
	if after != "" {
		path += "&after=" + url.QueryEscape(after)
	}
	var a struct {
		Events []Event
		Next   string
	}
	err := c.do(ctx, Reader, http.MethodGet, path, nil, &a)
	return a.Events, a.Next, err
}

// Watch follows the desk's stream until ctx ends or the stream breaks, and
// calls told with each incident as it is told. ready is called once when the
// stream has begun: what changes after that is not missed.
func (c *Client) Watch(ctx context.Context, ready func(), told func(Incident)) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.base+"/api/v1/stream", nil)
	if err != nil {
		return fmt.Errorf("desk: %w", err)
	}
	if err := c.as(req, Reader); err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("desk: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%w: stream: %s", ErrAnswer, resp.Status)
	}
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, 4<<20)
	event := ""
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ": ")
		switch {
		case name == "event":
			event = value
		case name == "data" && event == "hello":
			ready()
		case name == "data" && event == "incident":
			var i Incident
			if err := json.Unmarshal([]byte(value), &i); err != nil {
				return fmt.Errorf("desk: stream: %w", err)
			}
			told(i)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("desk: stream: %w", err)
	}
	return fmt.Errorf("desk: stream: %w", io.ErrUnexpectedEOF)
}
