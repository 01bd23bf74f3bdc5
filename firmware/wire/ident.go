package wire

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// A Lane is one of the ordered ways from a device to the centre. A smaller
// number is more urgent.
type Lane uint8

// The lanes. Their numbers are on the wire, their names in topics.
const (
	Alarm Lane = 1 // alarms raised and cleared
	Duty  Lane = 2 // sign-on and sign-off, answers to the centre, faults, health
	Track Lane = 3 // position batches
)

// Lanes lists all lanes, the most urgent first.
func Lanes() [3]Lane { return [3]Lane{Alarm, Duty, Track} }

// String returns the lane's name as it stands in topics.
func (l Lane) String() string {
	switch l {
	case Alarm:
		return "alarm"
	case Duty:
		return "duty"
	case Track:
		return "track"
	}
	return fmt.Sprintf("lane(%d)", uint8(l))
}

// ParseLane is the inverse of [Lane.String].
func ParseLane(s string) (Lane, error) {
	for _, l := range Lanes() {
		if l.String() == s {
			return l, nil
		}
	}
	return 0, fmt.Errorf("lane %q: want alarm, duty or track", s)
}

// A StreamID names the life of one spool: 64 random bits, drawn when the
// spool is created.
type StreamID [8]byte

// NewStreamID draws a stream id from the system's random source.
func NewStreamID() StreamID {
	var id StreamID
	rand.Read(id[:]) // never fails: crypto/rand, since Go 1.24
	return id
}

// String returns 16 lower-case hexadecimal digits.
func (id StreamID) String() string { return hex.EncodeToString(id[:]) }

// UnmarshalCBOR decodes a byte string of exactly 8 bytes.
func (id *StreamID) UnmarshalCBOR(b []byte) error { return unmarshalID(b, id[:]) }

// An AlarmID names one latched alarm: 64 random bits, drawn at the press that
// latched it. Presses that follow while it is latched carry the same id.
type AlarmID [8]byte

// NewAlarmID draws an alarm id from the system's random source.
func NewAlarmID() AlarmID {
	var id AlarmID
	rand.Read(id[:])
	return id
}

// String returns 16 lower-case hexadecimal digits.
func (id AlarmID) String() string { return hex.EncodeToString(id[:]) }

// UnmarshalCBOR decodes a byte string of exactly 8 bytes.
func (id *AlarmID) UnmarshalCBOR(b []byte) error { return unmarshalID(b, id[:]) }

// A Hash is the first 16 bytes of the SHA-256 of a sealed message. It chains
// each event to the one before it in its lane.
type Hash [16]byte

// HashOf returns the hash of a sealed message, all of its bytes.
func HashOf(msg []byte) Hash {
	sum := sha256.Sum256(msg)
	return Hash(sum[:16])
}

// UnmarshalCBOR decodes a byte string of exactly 16 bytes.
func (h *Hash) UnmarshalCBOR(b []byte) error { return unmarshalID(b, h[:]) }

// String returns 32 lower-case hexadecimal digits.
func (h Hash) String() string { return hex.EncodeToString(h[:]) }

// ErrDevice means that a device id breaks the rules of [ValidDevice].
var ErrDevice = errors.New("bad device id")

// ValidDevice reports whether id may name a device: 1 to 32 of a-z, 0-9 and
// '-', not beginning with '-'. Such an id is safe in MQTT topics and NATS
// subjects alike. The error wraps [ErrDevice].
func ValidDevice(id string) error {
	ok := len(id) >= 1 && len(id) <= 32 && id[0] != '-'
	for i := 0; ok && i < len(id); i++ {
		c := id[i]
		ok = c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '-'
	}
	if !ok {
		return fmt.Errorf("%w: device %q: want 1 to 32 of a-z, 0-9 and '-', not beginning with '-'", ErrDevice, id)
	}
	return nil
}

// HelloKind is what [ParseUpTopic] returns for a hello, where an event's topic
// gives the name of its lane.
const HelloKind = "hello"

const topicRoot = "fs/v1/"

// UpTopic returns the topic of a device's events in a lane.
func UpTopic(device string, l Lane) string { return topicRoot + device + "/up/" + l.String() }

// HelloTopic returns the topic of a device's hellos.
func HelloTopic(device string) string { return topicRoot + device + "/up/" + HelloKind }

// DownTopic returns the topic of the centre's messages to a device.
func DownTopic(device string) string { return topicRoot + device + "/down" }

// UpFilter is the MQTT topic filter that matches every device's uplink.
const UpFilter = topicRoot + "+/up/+"

// ErrTopic means that a topic is not an uplink topic of this contract.
var ErrTopic = errors.New("bad topic")

// ParseUpTopic splits an uplink topic into the device and "alarm", "duty",
// "track" or [HelloKind]. The error wraps [ErrTopic].
func ParseUpTopic(topic string) (device, kind string, err error) {
	bad := fmt.Errorf("%w: %q: want fs/v1/<device>/up/{alarm,duty,track,hello}", ErrTopic, topic)
	rest, ok := strings.CutPrefix(topic, topicRoot)
	if !ok {
		return "", "", bad
	}
	device, kind, ok = strings.Cut(rest, "/up/")
	if !ok || ValidDevice(device) != nil {
		return "", "", bad
	}
	if _, err := ParseLane(kind); err != nil && kind != HelloKind {
		return "", "", bad
	}
	return device, kind, nil
}
