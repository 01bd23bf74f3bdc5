package console

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

func viewEvent(row *store.EventRow) (*Event, error) {
	e := row.Event
	body, err := json.Marshal(viewBody(e.Body))
	if err != nil {
		return nil, fmt.Errorf("event %d: %w", row.ID, err)
	}
	return &Event{
		ID: strconv.FormatInt(row.ID, 10), Stream: e.Stream.String(), Lane: e.Lane.String(), Seq: e.Seq,
		Boot: e.Boot, MonoMS: e.Mono.Milliseconds(), Wall: viewWall(e.Wall), OccurredAt: viewMoment(row.When), Officer: e.Officer, Drill: e.Drill,
		Type: e.Body.Type().String(), Body: body, ReceivedAt: Time{row.Received},
	}, nil
}

// viewWall hides a time that comes from a clock that nothing has set.
func viewWall(w wire.Wall) Stamp {
	s := Stamp{Source: w.Source.String(), UncertaintyMS: w.Uncertainty.Milliseconds()}
	if w.Source != wire.WallNone {
		s.Time = Time{w.Time()}
	}
	return s
}

// viewBody is a body's members in the API's names: degrees, metres, metres a second and
// seconds, whatever the units on the wire. A body that this version does not know is
// passed on as the CBOR that came, in hexadecimal.
func viewBody(body wire.Body) map[string]any {
	switch b := body.(type) {
	case *wire.AlarmRaised:
		m := map[string]any{
			"alarm": b.Alarm.String(), "kind": b.Kind.String(), "silent": b.Silent,
			"button": b.Button, "press": b.Press, "position": nil,
		}
		if p := b.Position; p != nil {
			m["position"] = map[string]any{"lat": p.Lat(), "lon": p.Lon(), "age_s": float64(p.AgeMs) / 1000, "source": p.Source.String(), "spread_m": p.Spread}
		}
		return m
	case *wire.AlarmCleared:
		return map[string]any{"alarm": b.Alarm.String(), "by": b.By.String(), "officer": b.Officer}
	case *wire.SignOn:
		return map[string]any{"officer": b.Officer, "slot": b.Slot, "score": b.Score}
	case *wire.SignOff:
		return map[string]any{"officer": b.Officer, "reason": b.Reason}
	case *wire.SignRefused:
		return map[string]any{"reason": b.Reason, "slot": b.Slot, "score": b.Score}
	case *wire.FingerChanged:
		return map[string]any{
			"action": b.Action.String(), "slot": b.Slot, "officer": b.Officer, "role": b.Role.String(), "duress": b.Duress, "by": b.By,
		}
	case *wire.Fault:
		return map[string]any{"code": b.Code, "active": b.Active, "detail": b.Detail}
	case *wire.Health:
		queue := make(map[string]uint64, len(b.Queue))
		for lane, n := range b.Queue {
			queue[lane.String()] = n
		}
		m := map[string]any{
			"uptime_s": float64(b.UptimeMs) / 1000, "queue": queue, "firmware": b.Firmware, "memory_kib": b.MemoryKiB,
			"disk_free_kib": b.DiskFreeKiB, "gps": b.GPS, "faults": append([]string{}, b.Faults...),
			"started": string(b.Started), "temperature_c": celsius(b.Temperature), "supply": viewSupply(b.Supply),
		}
		if b.SignalDBm != 0 || b.Operator != "" {
			m["signal_dbm"], m["operator"], m["rat"] = b.SignalDBm, b.Operator, b.RAT
		}
		if b.WiFi != "" {
			m["wifi"], m["ssid"], m["wifi_dbm"] = b.WiFi, b.SSID, b.RadioDBm
		}
		return m
	case *wire.SecondPath:
		return map[string]any{
			"alarm": b.Alarm.String(), "press": b.Press, "sent": b.Sent, "failed": b.Failed, "answered": b.Answered,
			"after_s": float64(b.AfterMs) / 1000,
		}
	case *wire.Commissioned:
		return map[string]any{
			"verdict": b.Verdict.String(), "passed": b.Passed, "failed": b.Failed, "skipped": b.Skipped, "absent": b.Absent,
			"problems": append([]string{}, b.Problems...), "report": hex.EncodeToString(b.Report[:]), "by": b.By, "self_test": b.SelfTest, "firmware": b.Firmware,
		}
	case *wire.NoticeShown:
		return map[string]any{"alarm": b.Alarm.String(), "rev": b.Rev, "state": b.State.String()}
	case *wire.TrackBatch:
		fixes := make([]map[string]any, 0, len(b.Fixes))
		for i := range b.Fixes {
			fixes = append(fixes, viewTrackFix(&b.Fixes[i]))
		}
		return map[string]any{"fixes": fixes, "thinned": b.Thinned}
	case *wire.Dropped:
		ranges := make([]map[string]any, 0, len(b.Ranges))
		for _, r := range b.Ranges {
			ranges = append(ranges, map[string]any{
				"stream": r.Stream.String(), "lane": r.Lane.String(), "from": r.From, "to": r.To, "why": r.Why.String(),
				"events": r.Events, "fixes": r.Fixes, "first": orNull(r.First), "last": orNull(r.Last),
			})
		}
		return map[string]any{"ranges": ranges}
	case *wire.StreamStarted:
		salvaged := make(map[string]uint64, len(b.Salvaged))
		for lane, n := range b.Salvaged {
			salvaged[lane.String()] = n
		}
		return map[string]any{"previous": b.Previous.String(), "why": b.Why.String(), "salvaged": salvaged, "detail": b.Detail}
	case *wire.Sounded:
		return map[string]any{"alarm": b.Alarm.String(), "rev": b.Rev, "on": b.On, "by": b.By.String(), "device": b.Device, "why": b.Why}
	case *wire.CheckIn:
		return map[string]any{"by": b.By.String(), "officer": b.Officer, "button": b.Button, "position": viewPosition(b.Position)}
	case *wire.ModeSet:
		return map[string]any{"rev": b.Rev, "drill": b.Drill}
	case *wire.UnitAnswer:
		m := map[string]any{
			"incident": strconv.FormatUint(b.Incident, 10), "rev": b.Rev, "answer": b.Answer.String(), "code": nil, "note": b.Note,
			"attachments": viewHashes(b.Attachments), "position": viewPosition(b.Position),
		}
		if b.Answer == wire.AnswerClosed {
			m["code"] = b.Code.String()
		}
		return m
	case *wire.Note:
		return map[string]any{
			"incident": strconv.FormatUint(b.Incident, 10), "text": b.Text, "attachments": viewHashes(b.Attachments), "position": viewPosition(b.Position),
		}
	case *wire.UnitState:
		return map[string]any{"doing": b.Doing.String(), "reason": b.Reason, "position": viewPosition(b.Position)}
	case *wire.AttachmentPart: // its bytes are under /api/v1/attachments
		return map[string]any{
			"attachment": b.ID().String(), "sha256": hex.EncodeToString(b.Whole), "size": b.Size, "index": b.Index, "count": b.Count,
			"bytes": len(b.Bytes), "mime": b.MIME, "incident": strconv.FormatUint(b.Incident, 10),
		}
	case *wire.UnknownBody:
		return map[string]any{"type": uint64(b.BodyType), "cbor": hex.EncodeToString(b.Raw)}
	}
	return map[string]any{}
}

// celsius returns degrees; nil of nil.
func celsius(tenths *int64) *float64 {
	if tenths == nil {
		return nil
	}
	return new(float64(*tenths) / 10)
}

func viewPosition(p *wire.Position) any {
	if p == nil {
		return nil
	}
	return map[string]any{"lat": p.Lat(), "lon": p.Lon(), "age_s": float64(p.AgeMs) / 1000}
}

func viewHashes(list []wire.Hash) []string {
	out := make([]string, 0, len(list))
	for _, h := range list {
		out = append(out, h.String())
	}
	return out
}

func viewTrackFix(f *wire.TrackFix) map[string]any {
	m := map[string]any{"time": Time{time.UnixMilli(f.Time)}, "lat": f.Lat(), "lon": f.Lon(), "mode": 2}
	if f.Flags&wire.Fix3D != 0 {
		m["mode"] = 3
	}
	given := func(flag wire.TrackFlag, name string, value float64) {
		if f.Flags&flag != 0 {
			m[name] = value
		}
	}
	if f.Flags&wire.DoubtTime != 0 { // the time is the receiver's word only
		m["doubted"], m["mono_ms"] = true, f.Mono
	}
	if f.Flags&wire.Jumped != 0 {
		m["jumped"] = true
	}
	given(wire.HasAlt, "alt", float64(f.Alt))
	given(wire.HasSpeed, "speed", float64(f.Speed)/10)
	given(wire.HasCourse, "track", float64(f.Course))
	given(wire.HasHDOP, "hdop", float64(f.HDOP)/10)
	return m
}
