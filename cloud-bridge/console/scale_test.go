package console_test

import (
	"crypto/ed25519"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A large district, as the desk must bear it.
const (
	scaleBoxes = 5000
	scaleCars  = 300
)

// A fleet is a large district's cars, on their way.
type fleet struct {
	w     *world
	lanes map[string]*lane
	at    map[string][2]float64
	rand  *rand.Rand
}

// seedScale registers a large district and lets all of it be heard once.
func seedScale(w *world) *fleet {
	f := &fleet{w: w, lanes: make(map[string]*lane), at: make(map[string][2]float64), rand: rand.New(rand.NewPCG(1, 2))}
	public := key.Public().(ed25519.PublicKey)
	var batch store.Batch
	var register []store.Registration
	for n := range scaleBoxes + scaleCars {
		r := store.Registration{ID: fmt.Sprintf("box-%04d", n), Kind: store.AlarmBox, Name: fmt.Sprintf("第 %d 户", n), Key: public}
		at := store.Point{Lat: 30 + f.rand.Float64()*0.5, Lon: 103 + f.rand.Float64()*0.5}
		var body wire.Body = wire.NewHealth(time.Hour, "0.2.0", map[wire.Lane]uint64{wire.Alarm: 0})
		if n >= scaleBoxes {
			r.ID, r.Kind, r.Name = fmt.Sprintf("car-%03d", n-scaleBoxes+1), store.PatrolCar, fmt.Sprintf("巡逻 %d", n-scaleBoxes+1)
			f.at[r.ID] = [2]float64{at.Lat, at.Lon}
		} else {
			r.At = &at
		}
		register = append(register, r)
		batch.Arrivals = append(batch.Arrivals, f.event(r.ID, wire.Duty, body))
	}
	if err := w.db.Register(w.t.Context(), register...); err != nil {
		w.t.Error(err)
		return f
	}
	f.commit(batch)
	return f
}

// event is the next of a device's lane.
func (f *fleet) event(device string, l wire.Lane, body wire.Body) store.Arrival {
	name := device + "/" + l.String()
	if f.lanes[name] == nil {
		f.lanes[name] = &lane{stream: wire.StreamID{9, 9}}
	}
	at, now := f.lanes[name], time.Now()
	at.seq++
	e := &wire.Event{
		Device: device, Stream: at.stream, Lane: l, Seq: at.seq, Prev: at.prev, Boot: 1, Mono: now.Sub(f.w.booted),
		Wall: wire.Wall{UnixMilli: now.UnixMilli(), Source: wire.WallGNSS, Uncertainty: 40 * time.Millisecond}, Body: body,
	}
	message, err := wire.Seal(e, key)
	if err != nil {
		f.w.t.Error(err)
	}
	at.prev = wire.HashOf(message)
	return store.Arrival{Event: e, Message: message, Received: now}
}

func (f *fleet) commit(b store.Batch) {
	if _, err := f.w.db.Commit(f.w.t.Context(), b); err != nil {
		f.w.t.Error(err)
	}
}

// move drives each car on by a second at 50 km/h.
func (f *fleet) move() {
	var b store.Batch
	for n := range scaleCars {
		id := fmt.Sprintf("car-%03d", n+1)
		at := f.at[id]
		at[0] += (f.rand.Float64() - 0.5) * 0.00025
		at[1] += 0.00012
		f.at[id] = at
		b.Arrivals = append(b.Arrivals, f.event(id, wire.Track, &wire.TrackBatch{Fixes: []wire.TrackFix{{
			Time: time.Now().UnixMilli(), LatE6: int64(at[0] * 1e6), LonE6: int64(at[1] * 1e6), Speed: 139, Course: 90, HDOP: 9,
			Flags: wire.Fix3D | wire.HasSpeed | wire.HasCourse | wire.HasHDOP,
		}}}))
	}
	f.commit(b)
}
