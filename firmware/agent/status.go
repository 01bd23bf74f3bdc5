package agent

import (
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fengsui/fengsui/firmware/gps"
	"github.com/fengsui/fengsui/firmware/lamp"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A Status is a snapshot of the agent.
type Status struct {
	Device    string            `json:"device"`
	Stream    string            `json:"stream"`
	Boot      uint64            `json:"boot"`
	Step      string            `json:"step"` // what the lamps tell, see package lamp
	Officer   string            `json:"officer"`
	Faults    []string          `json:"faults"`
	Queue     map[string]uint64 `json:"queue"` // events that no Ack covers, by lane
	Fix       *gps.TPV          `json:"fix,omitempty"`
	FixAge    time.Duration     `json:"fix_age_ns,omitempty"`
	Place     string            `json:"place"`     // how it knows where it is, see wire.PositionSource; "": it does not
	Connected bool              `json:"connected"` // to a broker
	Heard     bool              `json:"heard"`     // from the centre, on this connection
}

// Status returns a snapshot; any goroutine may ask, at any time. The queue is
// that of the moment, the rest is as old as the loop's last step.
func (a *Agent) Status() Status { return *a.status.Load() }

func (a *Agent) publish(step lamp.Step) {
	up := a.uplink.Status()
	s := &Status{
		Device: a.cfg.Device, Stream: a.spool.Stream().String(), Boot: a.spool.Boot(),
		Step: step.String(), Officer: a.officer, Faults: slices.Sorted(maps.Keys(a.faults)),
		Queue: make(map[string]uint64), Connected: up.Connected, Heard: up.Heard,
	}
	for l, n := range a.spool.Depth() {
		if l == wire.Alarm {
			n -= min(n, uint64(len(a.veiled)))
		}
		s.Queue[l.String()] = n
	}
	if f := a.batch.last; f != nil {
		t := f.TPV()
		s.Fix, s.FixAge = &t, a.clock.Mono()-a.batch.seen
	}
	if p := a.position(); p != nil {
		s.Place = p.Source.String()
	}
	a.status.Store(s)
}

// wallState is the key of a time that has certainly passed in the spool's
// state, in Unix milliseconds: no plausible time is earlier. It rides on the
// heartbeat's commit.
const wallState = "wall"

// heartbeat stores a health event.
func (a *Agent) heartbeat() {
	at := a.stamp()
	h := wire.NewHealth(at.mono, a.opt.Version, a.spool.Depth())
	h.MemoryKiB = resident() / 1024
	var fs unix.Statfs_t
	if err := unix.Statfs(a.cfg.Data, &fs); err == nil {
		h.DiskFreeKiB = fs.Bavail * uint64(fs.Bsize) / 1024
	}
	h.GPS = "none"
	if a.ports.GPS != nil {
		h.GPS = "searching"
		if f := a.batch.last; f != nil && at.mono-a.batch.seen < 10*time.Second {
			h.GPS = strconv.Itoa(int(f.Mode)) + "d"
		}
	}
	a.sense(h)
	h.Started = a.started
	if a.modem != nil {
		st := a.modem.State()
		h.SignalDBm, h.Operator, h.RAT = int64(st.SignalDBm), st.Operator, st.RAT
	}
	if a.opt.WiFi != nil {
		st, err := a.opt.WiFi()
		switch {
		case err != nil:
			a.log.Error("wireless network", "err", err)
		case st != nil:
			h.WiFi, h.SSID, h.RadioDBm = string(st.Condition), strings.ToValidUTF8(st.SSID, "�"), int64(st.SignalDBm)
		}
	}
	h.Faults = slices.Sorted(maps.Keys(a.faults))
	var kv []spool.KV
	if a.mode.Drill {
		kv = append(kv, a.modeKV())
	}
	if t, ok := a.clock.Passed(); ok {
		kv = append(kv, spool.KV{Key: wallState, Value: strconv.AppendInt(nil, t.UnixMilli(), 10)})
	}
	kv = append(kv, a.overKVs()...)
	kv = append(kv, a.placeKV()...)
	a.store(at, wire.Duty, h, nil, append(kv, a.doneKVs()...)...)
	a.started = ""
}

// resident returns the process's resident memory in bytes (proc(5), statm), or
// 0 where the system does not say.
func resident() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0
	}
	pages, err := strconv.ParseUint(f[1], 10, 64)
	if err != nil {
		return 0
	}
	return pages * uint64(os.Getpagesize())
}
