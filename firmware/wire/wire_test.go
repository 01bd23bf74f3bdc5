package wire_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/veraison/go-cose"

	"github.com/fengsui/fengsui/firmware/wire"
)

var update = flag.Bool("update", false, "write testdata/vectors anew")

var (
	deviceKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	centreKey = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
)

func pub(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func raw(t testing.TB, v any) cbor.RawMessage {
	t.Helper()
	enc, err := cbor.CoreDetEncOptions().EncMode() // plain Marshal takes maps in any order
	if err != nil {
		t.Fatal(err)
	}
	b, err := enc.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func event(lane wire.Lane, body wire.Body) *wire.Event {
	return &wire.Event{
		Device: "box-01", Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, Lane: lane, Seq: 7,
		Prev: wire.Hash{0xaa, 15: 0xbb}, Boot: 3, Mono: 61_250 * time.Millisecond,
		Wall: wire.Wall{UnixMilli: 1_795_435_200_123, Source: wire.WallGNSS, Uncertainty: 50 * time.Millisecond},
		Body: body,
	}
}

// vectors are all kinds of message, as values. Their bytes are in
// testdata/vectors and must never change.
func vectors(t testing.TB) map[string]any {
	alarm := wire.AlarmID{0xa1, 7: 0xa8}
	signed := event(wire.Duty, &wire.SignOn{Officer: "P-1001", Slot: 1, Score: 120})
	signed.Officer, signed.Drill = "P-1001", true
	next := event(wire.Alarm, &wire.AlarmRaised{
		Alarm: alarm, Kind: 9, Button: "flood", Press: 1,
		Extra: wire.Extra{uint64(40): raw(t, "river gauge 3"), "note": raw(t, []int{1, 2})},
	})
	next.Extra = wire.Extra{uint64(99): raw(t, map[int]bool{1: true}), int64(-1): raw(t, 5)}
	return map[string]any{
		"alarm_raised": event(wire.Alarm, &wire.AlarmRaised{
			Alarm: alarm, Kind: wire.Panic, Button: "panic", Press: 1,
			Position: &wire.Position{LatE7: 301234567, LonE7: 1031234567, AgeMs: 1500, HDOP: 9},
		}),
		"alarm_cleared": event(wire.Alarm, &wire.AlarmCleared{Alarm: alarm, By: wire.ClearedByOfficer, Officer: "P-1001"}),
		"sign_on":       signed,
		"sign_on_pin":   event(wire.Duty, &wire.SignOn{Officer: "P-1002", PIN: true}),
		"sign_off":      event(wire.Duty, &wire.SignOff{Officer: "P-1001", Reason: "finger"}),
		"sign_refused":  event(wire.Duty, &wire.SignRefused{Reason: "weak_match", Slot: 4, Score: 12}),
		"fault":         event(wire.Duty, &wire.Fault{Code: "button_stuck:panic", Active: true, Detail: "held 60s"}),
		"health": event(wire.Duty, &wire.Health{
			UptimeMs: 61_250, Queue: map[wire.Lane]uint64{wire.Alarm: 0, wire.Duty: 1, wire.Track: 240},
			Firmware: "1.0.0", MemoryKiB: 18_000, DiskFreeKiB: 900_000, GPS: "3d", Faults: []string{"gps_lost"},
		}),
		"health_cellular": event(wire.Duty, &wire.Health{
			UptimeMs: 61_250, Queue: map[wire.Lane]uint64{wire.Alarm: 1}, Firmware: "1.0.0", SignalDBm: -87, Operator: "中国移动", RAT: "lte",
		}),
		"health_wifi": event(wire.Duty, &wire.Health{
			UptimeMs: 61_250, Queue: map[wire.Lane]uint64{wire.Alarm: 1}, Firmware: "1.0.0", WiFi: "joined", SSID: "石桥村", RadioDBm: -61,
		}),
		"health_first": event(wire.Duty, &wire.Health{
			UptimeMs: 250, Queue: map[wire.Lane]uint64{wire.Duty: 1}, Firmware: "1.0.0",
			Started: wire.StartedWatchdog, Temperature: new(int64(-52)), Supply: new(wire.UnderVoltage | wire.UnderVoltageWas),
		}),
		"second_path": event(wire.Duty, &wire.SecondPath{Alarm: alarm, Press: 2, Sent: 3, Failed: 1, Answered: true, AfterMs: 14_250}),
		"group_alarm": &wire.GroupAlarm{
			Device: "box-01", Group: "shiqiao-10", Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, Boot: 3, N: 17,
			Alarm: alarm, Kind: wire.Fire, Press: 2, On: true, Drill: true, AgeMs: 1500,
			Wall: 1_795_435_200_123, Source: wire.WallGNSS, Within: 50,
		},
		"group_alarm_over": &wire.GroupAlarm{
			Device: "box-01", Group: "shiqiao-10", Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, Boot: 3, N: 18, Alarm: alarm, Kind: wire.Fire, Press: 2,
		},
		"sms_alarm": &wire.SMSAlarm{
			Device: "box-01", Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, Seq: 7, Hash: [8]byte{0xaa, 7: 0xbb}, Alarm: alarm, Kind: wire.Panic,
			Silent: true, Drill: true, Press: 2, Boot: 3, Mono: 61_250 * time.Millisecond,
			Wall:     wire.Wall{UnixMilli: 1_795_435_200_123, Source: wire.WallGNSS, Uncertainty: 50 * time.Millisecond},
			Position: &wire.Position{LatE7: -301234567, LonE7: 1031234567, AgeMs: 2000, HDOP: 9},
		},
		"sms_answer": &wire.SMSAnswer{
			Device: "box-01", Alarm: alarm, Press: 2, State: wire.NoticeDispatched, Rev: 3, CentreTime: 1_795_435_200_500, Unit: "巡逻车 3",
		},
		"commissioned": event(wire.Duty, &wire.Commissioned{
			Verdict: wire.CommissionFail, Passed: 14, Failed: 1, Absent: 3, Problems: []string{"button:panic"},
			Report: [32]byte{0xab, 31: 0xcd}, By: "李工", Firmware: "1.0.0",
		}),
		"notice_shown": event(wire.Duty, &wire.NoticeShown{Alarm: alarm, Rev: 2, State: wire.NoticeDispatched}),
		"track_batch": event(wire.Track, &wire.TrackBatch{Fixes: []wire.TrackFix{
			{Time: 1_795_435_200_000, LatE6: 30_123_456, LonE6: 103_123_456, Alt: 512, Speed: 120, Course: 359, HDOP: 9, Flags: 0x1f},
			{Time: 1_795_435_201_000, LatE6: 30_123_560, LonE6: 103_123_460, Alt: 512, Speed: 118, Course: 2, HDOP: 9, Flags: 0x1f},
			{Time: 1_795_435_202_000, LatE6: 30_123_666, LonE6: 103_123_470, Alt: 512, Speed: 119, Course: 4, HDOP: 9, Flags: 0x0c},
			{Time: 1_795_439_999_999, LatE6: -89_999_999, LonE6: -179_999_999, Alt: -50, Speed: 0, Course: 180, HDOP: 9999, Flags: 0},
		}}),
		"alarm_raised_learned": event(wire.Alarm, &wire.AlarmRaised{
			Alarm: alarm, Kind: wire.Fire, Button: "fire", Press: 2,
			Position: &wire.Position{LatE7: 301234567, LonE7: 1031234567, Source: wire.PositionLearned, Spread: 4},
		}),
		"track_batch_jumped": event(wire.Track, &wire.TrackBatch{Fixes: []wire.TrackFix{
			{Time: 1_795_435_200_000, LatE6: 30_123_456, LonE6: 103_123_456, Alt: 512, Speed: 120, Course: 359, HDOP: 9, Flags: 0x1f},
			{Time: 1_795_435_201_000, LatE6: 34_623_560, LonE6: 103_123_460, Alt: 512, Speed: 118, Course: 2, HDOP: 9, Flags: 0x5f},
		}}),
		"track_batch_doubted": event(wire.Track, &wire.TrackBatch{Fixes: []wire.TrackFix{
			{Time: 1_175_990_400_000, LatE6: 30_123_456, LonE6: 103_123_456, Alt: 512, Speed: 120, Course: 359, HDOP: 9, Flags: 0x3f, Mono: 59_250},
			{Time: 1_175_990_401_000, LatE6: 30_123_560, LonE6: 103_123_460, Alt: 512, Speed: 118, Course: 2, HDOP: 9, Flags: 0x3f, Mono: 60_250},
			{Time: 1_795_435_200_000, LatE6: 30_123_666, LonE6: 103_123_470, Alt: 512, Speed: 119, Course: 4, HDOP: 9, Flags: 0x1f},
		}}),
		"dropped": event(wire.Duty, &wire.Dropped{Ranges: []wire.DroppedRange{
			{
				Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, Lane: wire.Track, From: 3, To: 18, Why: wire.DropThinned, Events: 16, Fixes: 480,
				First: 1_795_435_200_000, Last: 1_795_436_159_000,
			},
			{Stream: wire.StreamID{9}, Lane: wire.Duty, From: 40, To: 40, Why: wire.DropDamaged, Events: 1},
		}}),
		"stream_started": event(wire.Duty, &wire.StreamStarted{
			Previous: wire.StreamID{9}, Why: wire.StartDamaged, Salvaged: map[wire.Lane]uint64{wire.Alarm: 1, wire.Track: 88}, Detail: "page 5: wrong type",
		}),
		"finger_changed": event(wire.Duty, &wire.FingerChanged{
			Action: wire.FingerEnrolled, Slot: 12, Officer: "P-1001", Role: wire.RoleOfficer, Duress: true, By: "P-0007",
		}),
		"alarm_raised_duress": event(wire.Alarm, &wire.AlarmRaised{Alarm: alarm, Kind: wire.Duress, Silent: true, Button: "duress", Press: 1}),
		"track_batch_thinned": event(wire.Track, &wire.TrackBatch{Thinned: 4, Fixes: []wire.TrackFix{
			{Time: 1_795_435_200_000, LatE6: 30_123_456, LonE6: 103_123_456, Alt: 512, Speed: 120, Course: 359, HDOP: 9, Flags: 0x1f},
			{Time: 1_795_435_204_000, LatE6: 30_123_866, LonE6: 103_123_478, Alt: 512, Speed: 119, Course: 4, HDOP: 9, Flags: 0x1f},
		}}),
		"hello_beat": &wire.Hello{
			Device: "box-01", Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, Boot: 3, Firmware: "1.0.0",
			Window: map[wire.Lane]wire.Window{wire.Alarm: {Oldest: 8, Next: 8}}, MonoMs: 91_250,
		},
		"down_ack_of_hello": &wire.Down{Device: "box-01", CentreTime: 1_795_435_200_500, Body: &wire.Ack{
			Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, UpTo: map[wire.Lane]uint64{wire.Alarm: 7, wire.Duty: 0, wire.Track: 12},
			Hash: map[wire.Lane]wire.Hash{wire.Alarm: {0xaa, 15: 0xbb}}, Echo: &wire.Echo{Boot: 3, MonoMs: 91_250},
			Kept: []wire.Hash{{0xcc, 15: 0xdd}},
		}},
		"sounded":       event(wire.Duty, &wire.Sounded{Alarm: alarm, Rev: 1, On: true, By: wire.SoundedByCentre, Device: "box-02"}),
		"sounded_group": event(wire.Duty, &wire.Sounded{Alarm: alarm, By: wire.SoundedByGroup, Device: "box-02", Why: "no_siren"}),
		"check_in":      event(wire.Duty, &wire.CheckIn{By: wire.CheckInFinger, Officer: "V-2001"}),
		"check_in_button": event(wire.Duty, &wire.CheckIn{
			By: wire.CheckInButton, Button: "round", Position: &wire.Position{LatE7: 301234567, LonE7: 1031234567, AgeMs: 900},
		}),
		"mode_set": event(wire.Duty, &wire.ModeSet{Rev: 4, Drill: true}),
		"unit_answer": event(wire.Duty, &wire.UnitAnswer{
			Incident: 17, Rev: 1, Answer: wire.AnswerOnScene, Position: &wire.Position{LatE7: 301234567, LonE7: 1031234567, AgeMs: 200, HDOP: 9},
		}),
		"unit_answer_closed": event(wire.Duty, &wire.UnitAnswer{
			Incident: 17, Rev: 2, Answer: wire.AnswerClosed, Code: wire.CloseFalseAlarm, Note: "孩子误按", Attachments: []wire.Hash{{0xab, 15: 0xcd}},
		}),
		"attachment_part": event(wire.Track, &wire.AttachmentPart{
			Whole: append([]byte{0xab, 15: 0xcd}, make([]byte, 16)...), Size: 7, Index: 1, Count: 2, Bytes: []byte("jpg"), MIME: "image/jpeg", Incident: 17,
		}),
		"note":       event(wire.Duty, &wire.Note{Incident: 17, Text: "door locked", Attachments: []wire.Hash{{0xab, 15: 0xcd}}}),
		"unit_state": event(wire.Duty, &wire.UnitState{Doing: wire.DoingNothing}),
		"unit_state_busy": event(wire.Duty, &wire.UnitState{
			Doing: wire.DoingBusy, Reason: "送伤员", Position: &wire.Position{LatE7: 301234567, LonE7: 1031234567, AgeMs: 200, HDOP: 9},
		}),
		"down_sound": &wire.Down{Device: "box-01", CentreTime: 1_795_435_201_500, Body: &wire.Sound{
			Alarm: alarm, Rev: 1, On: true, Until: 1_795_435_381_500, Device: "box-02", Name: "王家院子", Kind: wire.Panic, Drill: true,
		}},
		"down_sound_off": &wire.Down{Device: "box-01", CentreTime: 1_795_435_201_500, Body: &wire.Sound{
			Alarm: alarm, Rev: 2, Device: "box-02", Kind: wire.Panic,
		}},
		"down_assignment": &wire.Down{Device: "box-01", CentreTime: 1_795_435_201_500, Body: &wire.Assignment{
			Incident: 17, Rev: 1, State: wire.Assigned, Stage: "dispatched", Alarm: alarm, Kind: "panic", Priority: 1, Drill: true, Silent: true,
			Device: "box-02", Name: "王家院子", Place: &wire.Place{LatE7: 301234567, LonE7: 1031234567, Source: wire.PlaceGNSS, AgeMs: 1500, Within: 12},
			Pressed: &wire.PressTime{UnixMilli: 1_795_435_200_123, Source: wire.WallGNSS, WithinMs: 50}, Note: "second house", Given: 1_795_435_201_000,
		}},
		"down_assignment_near": &wire.Down{Device: "box-01", CentreTime: 1_795_435_201_500, Body: &wire.Assignment{
			Incident: 17, Rev: 4, State: wire.Assigned, Kind: "panic", Priority: 1,
			Near: []wire.Landmark{{Name: "上河村委会", LatE7: 302741000, LonE7: 1031523000}, {Name: "box-03", LatE7: -302741000, LonE7: -1031523000}},
		}},
		"down_assignment_closed": &wire.Down{Device: "box-01", CentreTime: 1_795_435_201_500, Body: &wire.Assignment{
			Incident: 17, Rev: 5, State: wire.AssignmentEnded, Kind: "panic", Code: "false_alarm", By: "李梅",
		}},
		"down_assignment_ended": &wire.Down{Device: "box-01", CentreTime: 1_795_435_201_500, Body: &wire.Assignment{
			Incident: 17, Rev: 3, State: wire.AssignmentEnded, Kind: "offline",
		}},
		"down_mode":          &wire.Down{Device: "box-01", CentreTime: 1_795_435_201_500, Body: &wire.Mode{Rev: 4, Drill: true, Until: 1_795_438_800_000}},
		"later_version_keys": next,
		"later_version_body": event(wire.Duty, &wire.UnknownBody{BodyType: 777, Raw: raw(t, map[int]any{1: "photo", 2: []byte{1, 2}})}),
		"hello": &wire.Hello{
			Device: "box-01", Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, Boot: 3, Firmware: "1.0.0",
			Window: map[wire.Lane]wire.Window{wire.Alarm: {Oldest: 8, Next: 8}, wire.Duty: {Oldest: 5, Next: 9}, wire.Track: {Oldest: 1, Next: 300}},
		},
		"down_ack": &wire.Down{Device: "box-01", CentreTime: 1_795_435_200_500, Body: &wire.Ack{
			Stream: wire.StreamID{1, 2, 3, 4, 5, 6, 7, 8}, UpTo: map[wire.Lane]uint64{wire.Alarm: 7, wire.Track: 12},
		}},
		"down_notice":        &wire.Down{Device: "box-01", CentreTime: 1_795_435_201_500, Body: &wire.Notice{Alarm: alarm, Rev: 2, State: wire.NoticeDispatched, Unit: "巡逻车 3"}},
		"down_later_version": &wire.Down{Device: "box-01", CentreTime: 1_795_435_201_500, Body: &wire.UnknownDown{Type: 50, Raw: raw(t, map[int]int{1: 1})}, Extra: wire.Extra{uint64(70): raw(t, true)}},
	}
}

// A vector is what a file of testdata/vectors holds.
type vector struct {
	Topic        string `json:"topic"`
	ExternalAAD  string `json:"external_aad"`
	SignerSeed   string `json:"signer_ed25519_seed"`
	SignerPublic string `json:"signer_ed25519_public"`
	Payload      string `json:"payload_cbor_diagnostic"` // of an SMS: its payload's bytes
	Message      string `json:"message"`
	HashOf       string `json:"hash"`
}

func sealAny(v any) (msg []byte, topic, aad string, key ed25519.PrivateKey, err error) {
	switch v := v.(type) {
	case *wire.Event:
		msg, err = wire.Seal(v, deviceKey)
		return msg, wire.UpTopic(v.Device, v.Lane), "fs/v1/event", deviceKey, err
	case *wire.Hello:
		msg, err = wire.SealHello(v, deviceKey)
		return msg, wire.HelloTopic(v.Device), "fs/v1/hello", deviceKey, err
	case *wire.Down:
		msg, err = wire.SealDown(v, centreKey)
		return msg, wire.DownTopic(v.Device), "fs/v1/down", centreKey, err
	case *wire.GroupAlarm:
		msg, err = wire.SealGroup(v, deviceKey)
		return msg, "", "fs/v1/group", deviceKey, err
	case *wire.SMSAlarm:
		msg, err = wire.SealSMSAlarm(v, deviceKey)
		return msg, "", "", deviceKey, err
	case *wire.SMSAnswer:
		msg, err = wire.SealSMSAnswer(v, centreKey)
		return msg, "", "", centreKey, err
	}
	return nil, "", "", nil, errors.New("no such kind")
}

func openAny(like any, msg []byte) (any, error) {
	switch like.(type) {
	case *wire.Event:
		return wire.Open(msg, pub(deviceKey))
	case *wire.Hello:
		return wire.OpenHello(msg, pub(deviceKey))
	case *wire.GroupAlarm:
		return wire.OpenGroup(msg, func(string) ed25519.PublicKey { return pub(deviceKey) })
	case *wire.SMSAlarm:
		return wire.OpenSMSAlarm(msg, "box-01", pub(deviceKey))
	case *wire.SMSAnswer:
		return wire.OpenSMSAnswer(msg, "box-01", pub(centreKey))
	}
	return wire.OpenDown(msg, pub(centreKey), "box-01")
}

func TestVectors(t *testing.T) {
	all := vectors(t)
	for name, v := range all {
		t.Run(name, func(t *testing.T) {
			msg, topic, aad, key, err := sealAny(v)
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join("testdata", "vectors", name+".json")
			if *update {
				writeVector(t, file, topic, aad, key, msg)
			}
			b, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var want vector
			if err := json.Unmarshal(b, &want); err != nil {
				t.Fatal(err)
			}
			if got := hex.EncodeToString(msg); got != want.Message {
				t.Errorf("sealed\n%s, want\n%s", got, want.Message)
			}
			if topic != want.Topic || wire.HashOf(msg).String() != want.HashOf {
				t.Errorf("topic %s hash %s, want %s %s", topic, wire.HashOf(msg), want.Topic, want.HashOf)
			}
			stored, err := hex.DecodeString(want.Message)
			if err != nil {
				t.Fatal(err)
			}
			back, err := openAny(v, stored)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(v, back); d != "" {
				t.Errorf("opened (-want +got):\n%s", d)
			}
		})
	}
	files, _ := filepath.Glob("testdata/vectors/*.json")
	if len(files) != len(all) {
		t.Errorf("%d files in testdata/vectors, %d vectors here", len(files), len(all))
	}
}

func writeVector(t *testing.T, file, topic, aad string, key ed25519.PrivateKey, msg []byte) {
	t.Helper()
	diag := hex.EncodeToString(msg[:len(msg)-ed25519.SignatureSize]) // of an SMS, which is no CBOR
	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(msg); err == nil {
		if diag, err = cbor.Diagnose(m.Payload); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.MarshalIndent(vector{
		topic, aad, hex.EncodeToString(key.Seed()), hex.EncodeToString(pub(key)),
		diag, hex.EncodeToString(msg), wire.HashOf(msg).String(),
	}, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A middle-aged centre must pass on what a later device wrote, byte for byte,
// even after taking it apart.
func TestLaterVersionSurvivesReencoding(t *testing.T) {
	for _, name := range []string{"later_version_keys", "later_version_body"} {
		want, err := wire.Seal(vectors(t)[name].(*wire.Event), deviceKey)
		if err != nil {
			t.Fatal(err)
		}
		e, err := wire.Open(want, pub(deviceKey))
		if err != nil {
			t.Fatal(err)
		}
		got, err := wire.Seal(e, deviceKey)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s: re-encoded\n%x, want\n%x", name, got, want)
		}
	}
}

func TestSignatureBindsKindKeyAndBytes(t *testing.T) {
	e := event(wire.Alarm, &wire.AlarmRaised{Kind: wire.Fire, Button: "fire", Press: 1})
	msg, err := wire.Seal(e, deviceKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.Open(msg, pub(centreKey)); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("another's key: %v, want ErrSignature", err)
	}
	if _, err := wire.Open(msg, nil); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("no key: %v, want ErrSignature", err)
	}
	if _, err := wire.OpenHello(msg, pub(deviceKey)); !errors.Is(err, wire.ErrSignature) {
		t.Errorf("an event as a hello: %v, want ErrSignature", err)
	}
	for i := range msg {
		b := bytes.Clone(msg)
		b[i] ^= 1
		if _, err := wire.Open(b, pub(deviceKey)); err == nil {
			t.Errorf("bit flipped in byte %d: opened", i)
		}
	}
	for i := range msg {
		if _, err := wire.Open(msg[:i], pub(deviceKey)); err == nil {
			t.Errorf("cut to %d bytes: opened", i)
		}
	}
}

func TestDownIsForOneDevice(t *testing.T) {
	msg, err := wire.SealDown(&wire.Down{Device: "box-01", Body: &wire.Ack{}}, centreKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := wire.OpenDown(msg, pub(centreKey), "box-02"); !errors.Is(err, wire.ErrMessage) || !strings.Contains(err.Error(), "box-01") {
		t.Errorf("another's message: %v, want ErrMessage naming box-01", err)
	}
}

func TestSealRefuses(t *testing.T) {
	long := strings.Repeat("x", 65)
	raised := func(change func(*wire.AlarmRaised)) wire.Body {
		b := &wire.AlarmRaised{Kind: wire.Panic, Button: "panic", Press: 1}
		change(b)
		return b
	}
	fix := func(f wire.TrackFix) wire.Body { return &wire.TrackBatch{Fixes: []wire.TrackFix{f}} }
	for want, e := range map[string]*wire.Event{
		"device (1)":           {Device: "Box"},
		"lane (3)":             func() *wire.Event { e := event(4, raised(func(*wire.AlarmRaised) {})); return e }(),
		"seq (4) 0":            func() *wire.Event { e := event(1, raised(func(*wire.AlarmRaised) {})); e.Seq = 0; return e }(),
		"boot (6) 0":           func() *wire.Event { e := event(1, raised(func(*wire.AlarmRaised) {})); e.Boot = 0; return e }(),
		"mono (7)":             func() *wire.Event { e := event(1, raised(func(*wire.AlarmRaised) {})); e.Mono = -time.Second; return e }(),
		"wall (8)":             func() *wire.Event { e := event(1, raised(func(*wire.AlarmRaised) {})); e.Wall.UnixMilli = -1; return e }(),
		"officer (11)":         func() *wire.Event { e := event(1, raised(func(*wire.AlarmRaised) {})); e.Officer = long; return e }(),
		"kind (2)":             event(1, raised(func(b *wire.AlarmRaised) { b.Kind = 0 })),
		"press (5)":            event(1, raised(func(b *wire.AlarmRaised) { b.Press = 0 })),
		"button (4)":           event(1, raised(func(b *wire.AlarmRaised) { b.Button = long })),
		"position.lat (1)":     event(1, raised(func(b *wire.AlarmRaised) { b.Position = &wire.Position{LatE7: 91e7} })),
		"code (1)":             event(2, &wire.Fault{}),
		"body (14) absent":     event(2, &wire.UnknownBody{BodyType: 777}),
		"officer (1)":          event(2, &wire.SignOn{}),
		"rev (2)":              event(2, &wire.NoticeShown{}),
		"ranges (1) 0":         event(2, &wire.Dropped{}),
		"range from (3)":       event(2, &wire.Dropped{Ranges: []wire.DroppedRange{{Lane: 1, From: 2, To: 1, Why: 1}}}),
		"range events (6) 3":   event(2, &wire.Dropped{Ranges: []wire.DroppedRange{{Lane: 1, From: 2, To: 3, Why: 1, Events: 3}}}),
		"range lane (2) 4":     event(2, &wire.Dropped{Ranges: []wire.DroppedRange{{Lane: 4, From: 2, To: 3, Why: 1}}}),
		"range why (5)":        event(2, &wire.Dropped{Ranges: []wire.DroppedRange{{Lane: 1, From: 2, To: 3}}}),
		"why (2)":              event(2, &wire.StreamStarted{}),
		"action (1) action(0)": event(2, &wire.FingerChanged{Officer: "P-1001", Role: wire.RoleOfficer}),
		"slot (2) 65536":       event(2, &wire.FingerChanged{Action: wire.FingerDeleted, Slot: 65536, Officer: "P-1001", Role: wire.RoleOfficer}),
		"role (4) role(0)":     event(2, &wire.FingerChanged{Action: wire.FingerDeleted, Officer: "P-1001"}),
		"by (6)":               event(2, &wire.FingerChanged{Action: wire.FingerDeleted, Officer: "P-1001", Role: wire.RoleOfficer, By: long}),
		"fixes (1) 0":          event(3, &wire.TrackBatch{}),
		"fix latitude":         event(3, fix(wire.TrackFix{LatE6: 90_000_001})),
		"fix course 360":       event(3, fix(wire.TrackFix{Course: 360})),
		"fix time -1":          event(3, fix(wire.TrackFix{Time: -1})),
		"detail (3) of 513 b":  event(2, &wire.Fault{Code: "x", Detail: strings.Repeat("d", 513)}),
	} {
		if e.Body == nil {
			e.Body = raised(func(*wire.AlarmRaised) {})
		}
		_, err := wire.Seal(e, deviceKey)
		if !errors.Is(err, wire.ErrMessage) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "want ") {
			t.Errorf("%s: %v, want an ErrMessage that names it and what would be right", want, err)
		}
	}
}

func TestSealDownRefuses(t *testing.T) {
	for want, b := range map[string]wire.DownBody{
		"type (3) 0":      &wire.UnknownDown{Raw: cbor.RawMessage{0xa0}},
		"body (4) absent": &wire.UnknownDown{Type: 50},
		"rev (2) 0":       &wire.Notice{},
		"device (5)":      &wire.Sound{Rev: 1, Kind: wire.Fire},
		"until (4) 0":     &wire.Sound{Rev: 1, Kind: wire.Fire, Device: "box-02", On: true},
		"until (4) 9":     &wire.Sound{Rev: 1, Kind: wire.Fire, Device: "box-02", Until: 9},
		"until (3) 0":     &wire.Mode{Rev: 1, Drill: true},
		"until (3) 9":     &wire.Mode{Rev: 1, Until: 9},
		"incident (1) 0":  &wire.Assignment{Rev: 1, State: wire.Assigned, Kind: "panic"},
		"state (3) 0":     &wire.Assignment{Incident: 1, Rev: 1, Kind: "panic"},
		"place.lat (1)":   &wire.Assignment{Incident: 1, Rev: 1, State: wire.Assigned, Kind: "panic", Place: &wire.Place{LatE7: 91e7}},
		"pressed.time":    &wire.Assignment{Incident: 1, Rev: 1, State: wire.Assigned, Kind: "panic", Pressed: &wire.PressTime{UnixMilli: -1}},
		"kind (6)":        &wire.Assignment{Incident: 1, Rev: 1, State: wire.Assigned},
		"near.name (1)":   &wire.Assignment{Incident: 1, Rev: 1, State: wire.Assigned, Kind: "panic", Near: []wire.Landmark{{}}},
		"near.lon (3)":    &wire.Assignment{Incident: 1, Rev: 1, State: wire.Assigned, Kind: "panic", Near: []wire.Landmark{{Name: "x", LonE7: 181e7}}},
		"near (18)":       &wire.Assignment{Incident: 1, Rev: 1, State: wire.Assigned, Kind: "panic", Near: make([]wire.Landmark, 17)},
		"by (17)":         &wire.Assignment{Incident: 1, Rev: 1, State: wire.AssignmentEnded, Kind: "panic", By: strings.Repeat("x", 65)},
	} {
		_, err := wire.SealDown(&wire.Down{Device: "box-01", Body: b}, centreKey)
		if !errors.Is(err, wire.ErrMessage) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an ErrMessage that names it", want, err)
		}
	}
}

func TestTopics(t *testing.T) {
	for topic, want := range map[string][2]string{
		"fs/v1/box-01/up/alarm": {"box-01", "alarm"},
		"fs/v1/box-01/up/track": {"box-01", "track"},
		"fs/v1/b/up/hello":      {"b", "hello"},
		"fs/v1/box-01/down":     {}, "fs/v1/box-01/up/": {}, "fs/v1/box-01/up/ALARM": {}, "fs/v2/box-01/up/alarm": {},
		"fs/v1//up/alarm": {}, "fs/v1/a/b/up/alarm": {}, "fs/v1/+/up/alarm": {}, "": {}, "fs/v1/box.1/up/duty": {},
		"fs/v1/box-01/up/alarm/up/alarm": {},
	} {
		d, k, err := wire.ParseUpTopic(topic)
		if d != want[0] || k != want[1] || (err != nil) != (want[0] == "") {
			t.Errorf("ParseUpTopic(%q) = %q, %q, %v; want %q", topic, d, k, err, want)
		}
		if err != nil && !errors.Is(err, wire.ErrTopic) {
			t.Errorf("ParseUpTopic(%q): %v does not wrap ErrTopic", topic, err)
		}
	}
	for _, l := range wire.Lanes() {
		if d, k, err := wire.ParseUpTopic(wire.UpTopic("car-1", l)); err != nil || d != "car-1" || k != l.String() {
			t.Errorf("lane %v does not come back: %q %q %v", l, d, k, err)
		}
	}
}
