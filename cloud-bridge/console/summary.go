package console

import (
	"context"
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// Summary is what a list or a map of thousands of devices shows. Devices' first columns
// never change while a page is open; the stream sends only Moves.
type Summary struct {
	At      Time        `json:"at"`
	Devices []Known     `json:"devices"`
	Moves   compactRows `json:"moves"`
}

// Known is what the register says of a device.
type Known struct {
	ID       string `json:"id"`
	Kind     string `json:"kind"`
	Name     string `json:"name"`
	Position *Point `json:"position"`
}

// Moves are what has changed of devices by a moment. Gone are those that the reader, who is
// bound to a part of the grid, saw until then: they have left it.
type Moves struct {
	At    Time        `json:"at"`
	Moves compactRows `json:"moves"`
	Gone  []string    `json:"gone"`
}

// compactRows writes one array a device, in the order of moveColumns: it is sent once a
// second for each that has said something, so that bytes and parsing count.
type compactRows struct {
	at   time.Time
	rows []store.DeviceSummary
}

// moveColumns are documented in openapi.yaml: id, link, heard, officer, faults, queue, fix,
// lat, lon, speed, course. Times are milliseconds before "at", null when never.

// MarshalJSON implements json.Marshaler.
func (c compactRows) MarshalJSON() ([]byte, error) {
	b := make([]byte, 0, 2+len(c.rows)*80)
	b = append(b, '[')
	for i := range c.rows {
		if i > 0 {
			b = append(b, ',')
		}
		b = c.row(b, &c.rows[i])
	}
	return append(b, ']'), nil
}

func (c compactRows) row(b []byte, d *store.DeviceSummary) []byte {
	null := func() { b = append(b, "null"...) }
	before := func(t time.Time) {
		if t.IsZero() {
			null()
			return
		}
		b = strconv.AppendInt(b, c.at.Sub(t).Milliseconds(), 10)
	}
	b = append(b, '[')
	b = appendText(b, d.ID)
	b = append(b, ',')
	b = appendText(b, string(d.Link))
	b = append(b, ',')
	before(d.LastHeard)
	b = append(b, ',')
	b = appendText(b, d.Officer)
	b = append(b, ',')
	b = strconv.AppendInt(b, int64(d.Faults), 10)
	b = append(b, ',')
	b = strconv.AppendUint(b, d.Queue, 10)
	f := d.Fix
	if f == nil {
		return append(b, ",null,null,null,null,null]"...)
	}
	b = append(b, ',')
	before(f.Time)
	for _, v := range []float64{f.Lat, f.Lon} {
		b = append(b, ',')
		b = strconv.AppendFloat(b, math.Round(v*1e5)/1e5, 'f', -1, 64) // a metre
	}
	for _, v := range []*float64{f.Speed, f.Course} {
		b = append(b, ',')
		if v == nil {
			null()
		} else {
			b = strconv.AppendFloat(b, math.Round(*v*10)/10, 'f', -1, 64)
		}
	}
	return append(b, ']')
}

// appendText writes a JSON string; ids and the names of links are plain, an officer's id
// may be anything.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil { // a string has none
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}

func (c *Console) getSummary(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	list, err := c.options.Store.Summary(r.Context())
	if err == nil {
		list, err = only(r.Context(), c, list, whereSummary)
	}
	if err != nil {
		return nil, err
	}
	now := time.Now()
	s := &Summary{At: Time{now}, Devices: make([]Known, 0, len(list)), Moves: compactRows{now, list}}
	for i := range list {
		d := &list[i]
		k := Known{ID: d.ID, Kind: string(d.Kind), Name: d.Name}
		if d.At != nil {
			k.Position = &Point{d.At.Lat, d.At.Lon}
		}
		s.Devices = append(s.Devices, k)
	}
	return s, nil
}

func whereSummary(d *store.DeviceSummary) (string, *store.Point) { return d.ID, nil }

// sight is which devices an actor sees who is bound to a part of the grid; nil is all.
func (c *Console) sight(ctx context.Context) (map[string]bool, error) {
	if actorOf(ctx).Scope.Whole() {
		return nil, nil
	}
	list, err := c.options.Store.Summary(ctx)
	if err == nil {
		list, err = only(ctx, c, list, whereSummary)
	}
	seen := make(map[string]bool, len(list))
	for i := range list {
		seen[list[i].ID] = true
	}
	return seen, err
}

// moves tells all devices that have changed, in one event, and brings sight up to date: what
// a bounded reader has seen and sees no more is gone to it, and what it never saw it is not
// told of.
func (c *Console) moves(ctx context.Context, out *eventWriter, ids []string, sight map[string]bool) error {
	list, err := c.options.Store.Summary(ctx, ids...)
	if err == nil {
		list, err = only(ctx, c, list, whereSummary)
	}
	if err != nil {
		return err
	}
	gone := []string{}
	if sight != nil {
		seen := make(map[string]bool, len(list))
		for i := range list {
			seen[list[i].ID] = true
			sight[list[i].ID] = true
		}
		for _, id := range ids {
			if sight[id] && !seen[id] {
				delete(sight, id)
				gone = append(gone, id)
			}
		}
	}
	if len(list) == 0 && len(gone) == 0 {
		return nil
	}
	now := time.Now()
	return out.write("moves", Moves{Time{now}, compactRows{now, list}, gone})
}
