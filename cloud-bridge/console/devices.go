package console

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

func (c *Console) listDevices(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	list, err := c.options.Store.Devices(r.Context())
	if err == nil {
		list, err = only(r.Context(), c, list, whereDevice)
	}
	if err != nil {
		return nil, err
	}
	answer := struct {
		Devices []*Device `json:"devices"`
	}{make([]*Device, 0, len(list))}
	now := time.Now()
	for i := range list {
		answer.Devices = append(answer.Devices, viewDevice(&list[i], now))
	}
	return answer, nil
}

func (c *Console) getDevice(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	if err := c.seesDevice(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	d, err := c.options.Store.Device(r.Context(), r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return viewDevice(d, time.Now()), nil
}

func (c *Console) listEvents(r *http.Request, _ http.ResponseWriter) (any, error) {
	values, err := query(r, "lane", "after", "limit")
	if err != nil {
		return nil, err
	}
	var q store.EventQuery
	if values.Has("lane") {
		if q.Lane, err = wire.ParseLane(values.Get("lane")); err != nil {
			return nil, badField("lane", values.Get("lane"), "alarm, duty or track")
		}
	}
	if q.After, err = number(values, "after", 0, 1<<62, 0); err != nil {
		return nil, err
	}
	limit, err := number(values, "limit", 1, store.MaxEvents, 100)
	if err != nil {
		return nil, err
	}
	q.Limit = int(limit)
	if err := c.seesDevice(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	rows, err := c.options.Store.Events(r.Context(), r.PathValue("id"), q)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Events []*Event `json:"events"`
		Next   string   `json:"next"`
	}{make([]*Event, 0, len(rows)), strconv.FormatInt(q.After, 10)}
	for i := range rows {
		e, err := viewEvent(&rows[i])
		if err != nil {
			return nil, err
		}
		answer.Events, answer.Next = append(answer.Events, e), e.ID
	}
	return answer, nil
}

// shownFingers is how many events of a reader are told.
const shownFingers = 50

func (c *Console) listFingers(r *http.Request, _ http.ResponseWriter) (any, error) {
	if err := c.seesDevice(r.Context(), r.PathValue("id")); err != nil {
		return nil, err
	}
	rows, err := c.options.Store.FingerEvents(r.Context(), r.PathValue("id"), shownFingers)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Events []*Event `json:"events"`
	}{make([]*Event, 0, len(rows))}
	for i := range rows {
		e, err := viewEvent(&rows[i])
		if err != nil {
			return nil, err
		}
		answer.Events = append(answer.Events, e)
	}
	return answer, nil
}

type (
	featureCollection struct {
		Type     string    `json:"type"`
		Features []feature `json:"features"`
	}
	feature struct {
		Type       string          `json:"type"`
		Geometry   geometry        `json:"geometry"`
		Properties trackProperties `json:"properties"`
	}
	geometry struct {
		Type        string `json:"type"`
		Coordinates any    `json:"coordinates"`
	}
	trackProperties struct {
		Device        string  `json:"device"`
		Times         []Time  `json:"times"`
		UncertaintyMS []int64 `json:"uncertainty_ms"`
		Jumped        int     `json:"jumped"`
	}
)

func (c *Console) getTrack(r *http.Request, w http.ResponseWriter) (any, error) {
	values, err := query(r, "from", "to")
	if err != nil {
		return nil, err
	}
	to, err := moment(values, "to", time.Now())
	if err != nil {
		return nil, err
	}
	from, err := moment(values, "from", to.Add(-time.Hour))
	if err != nil {
		return nil, err
	}
	if !from.Before(to) {
		return nil, badField("from", from.UTC().Format(time.RFC3339), "a time before to")
	}
	device := r.PathValue("id")
	if err := c.seesDevice(r.Context(), device); err != nil {
		return nil, err
	}
	fixes, err := c.options.Store.Track(r.Context(), device, from, to, maxTrack)
	if err != nil {
		return nil, err
	}
	answer := featureCollection{Type: "FeatureCollection", Features: []feature{}}
	f := feature{Type: "Feature", Properties: trackProperties{Device: device}}
	fixes = slices.DeleteFunc(fixes, func(fix store.Fix) bool {
		if fix.Jumped { // to a place where the device was not
			f.Properties.Jumped++
		}
		return fix.Jumped
	})
	if len(fixes) > 0 {
		line := make([][]float64, 0, len(fixes))
		for _, fix := range fixes {
			at := []float64{fix.Lon, fix.Lat} // RFC 7946, section 3.1.1: longitude first
			if fix.Alt != nil {
				at = append(at, *fix.Alt)
			}
			line = append(line, at)
			f.Properties.Times = append(f.Properties.Times, Time{fix.Time})
			f.Properties.UncertaintyMS = append(f.Properties.UncertaintyMS, fix.Within.Milliseconds())
		}
		f.Geometry = geometry{"LineString", line}
		if len(line) == 1 { // A line has two points or more (section 3.1.4).
			f.Geometry = geometry{"Point", line[0]}
		}
		answer.Features = append(answer.Features, f)
	}
	w.Header().Set("Content-Type", "application/geo+json")
	return answer, nil
}

func (c *Console) getRefused(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	refused, err := c.options.Store.Refused(r.Context())
	if err != nil {
		return nil, err
	}
	return viewRefused(refused), nil
}
