// Package terminal is the officer's screen in a patrol car: a page that the
// firmware serves to the car's own display, with or without a link to the
// centre. It shows who is signed on, where the car is and how well that is
// known, what waits for the centre, and the incident that the unit is sent to;
// it takes what the officer says.
//
// It knows nothing of the disk, the link and the sensors: it asks a [Device]
// (package agent is one) and stores nothing itself. Before somebody is signed
// on nothing personal leaves it; whose fingers are enrolled leaves it only after
// a supervisor or technician has laid theirs for that ([Fingers]). It listens where the configuration says, by
// default on the loopback address, and answers only to a browser that has the
// device's token; without TLS, so that on the car's network whoever listens
// there can read along.
package terminal

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A Device is what the screen shows. Its methods may be called by several
// goroutines; each returns when the device's loop has taken it. What a method
// has taken is durable, or is kept and tried again, before it reaches the
// centre: none waits for a link.
type Device interface {
	// View returns what there is to show.
	View(ctx context.Context) (View, error)
	// Shows says how many screens show the device now.
	Shows(ctx context.Context, screens int) error
	// SignOn signs the officer with this number on. The error wraps [ErrPIN], or
	// is a *[LockedError].
	SignOn(ctx context.Context, number, pin string) error
	// SignOff signs the officer off. The error wraps [ErrSignedOff].
	SignOff(ctx context.Context) error
	// Answer says something to an assignment. It is not idempotent: each call is
	// an event. The error wraps [ErrSignedOff], is a *[FieldError], or says that
	// the unit is not sent there.
	Answer(ctx context.Context, a Answer) error
	// SetDoing says what the unit does beside its assignments. It is not
	// idempotent: each call is an event. The error wraps [ErrSignedOff].
	SetDoing(ctx context.Context, doing wire.Doing, reason string) error
	// PutAway takes a task that is over from the screen; one that is not there
	// any more is no error. The error wraps [ErrSignedOff] or is a *[FieldError].
	PutAway(ctx context.Context, incident uint64) error
	// Help raises an alarm, or counts one more press of the one that is raised.
	Help(ctx context.Context) error
	// Note stores a text about an incident, or about none (0).
	Note(ctx context.Context, incident uint64, text string) error
	// Photo keeps a JPEG file for the centre and returns its id. The same file
	// again is the same photo. The error wraps [ErrSignedOff] or [ErrFull].
	Photo(ctx context.Context, incident uint64, jpeg []byte) (id string, err error)
}

// Errors of a Device.
var (
	// ErrSignedOff means that nobody is signed on.
	ErrSignedOff = errors.New("nobody is signed on")
	// ErrPIN means that the number or the PIN is wrong; it does not say which.
	ErrPIN = errors.New("wrong number or PIN")
	// ErrFull means that no more photos can be kept until some are sent.
	ErrFull = errors.New("no room for another photo")
)

// A LockedError means that too many wrong PINs were typed.
type LockedError struct{ Left time.Duration }

// Error says for how long.
func (e *LockedError) Error() string {
	return "no PIN is taken for another " + e.Left.Round(time.Second).String()
}

// A FieldError names a field, its value and what would be right.
type FieldError struct{ Field, Value, Want string }

// Error says all three.
func (e *FieldError) Error() string {
	return fmt.Sprintf("%s %s: want %s", e.Field, strconv.Quote(e.Value), e.Want)
}

// A View is a snapshot of a device.
type View struct {
	Device      string
	Officer     string // signed on, or ""
	Reader      bool   // there is a fingerprint reader
	PIN         bool   // officers may sign on by PIN
	Locked      time.Duration
	Now         time.Time     // by the device's clock
	ClockSource string        // of it: "none", "gnss" …
	Connected   bool          // to a broker
	Heard       bool          // from the centre, on this connection
	Lost        time.Duration // for how long the centre is not heard, at least since the start; 0 while Heard
	Queue       Queue         // what the centre does not have yet, events
	Receiver    bool          // there is a satellite receiver
	Fix         *Fix          // the newest; nil: none yet
	Path        []Step        // where the device was in the last hour, the oldest first
	Drill       bool
	Faults      []string // codes
	Help        *Help    // a call for help from this screen that is not closed
	Doing       *Doing   // what was said last of the unit; nil: nothing
	Tasks       []Task   // what is assigned first
	Photos      []Photo  // that wait for the centre, in the order in which they go
}

// Queue counts events by lane.
type Queue struct {
	Alarm uint64 `json:"alarm"`
	Duty  uint64 `json:"duty"`
	Track uint64 `json:"track"`
}

// A Fix is where the device is, as well as it knows.
type Fix struct {
	Lat, Lon  float64 // degrees, WGS 84
	Age       time.Duration
	Mode      int     // 2 or 3 dimensions
	HDOP      float64 // 0: not known
	Speed     float64 // m/s
	Course    float64 // degrees from true north
	HasCourse bool
}

// A Step is where the device was.
type Step struct {
	Lat, Lon float64 // degrees, WGS 84
	Age      time.Duration
}

// Help is a call for help that is not closed.
type Help struct {
	Step    string `json:"step"` // what a lamp would tell, see package lamp
	Unit    string `json:"unit"` // who is coming, or ""
	Presses uint64 `json:"presses"`
}

// A Doing is what the unit's people said last that it does. The desk may have
// set something else since.
type Doing struct {
	State  string    `json:"state"` // "available", "busy" or "out_of_service"
	Reason string    `json:"reason"`
	At     time.Time `json:"at"`   // by the device's clock
	Sent   bool      `json:"sent"` // the centre has it
}

// A Task is an incident that the unit is, or was just, sent to.
type Task struct {
	Assignment wire.Assignment
	Said       []Said    // in order
	Photos     []string  // ids of those that were taken for it
	Over       time.Time // when it was withdrawn or ended, by the device's clock; zero: it is not, or that is not known
}

// A Said is something that was said to an assignment.
type Said struct {
	Answer  string    `json:"answer"`
	Code    string    `json:"code,omitempty"`
	Note    string    `json:"note,omitempty"`
	Photos  []string  `json:"photos,omitempty"`
	Officer string    `json:"officer"`
	At      time.Time `json:"at"`   // by the device's clock
	Sent    bool      `json:"sent"` // the centre has it
}

// An Answer is to be said to an assignment.
type Answer struct {
	Incident uint64
	Answer   wire.Answer
	Code     wire.CloseCode // with wire.AnswerClosed
	Note     string
	Photos   []string // ids
}

// A Photo waits for the centre.
type Photo struct {
	ID       string `json:"id"`
	Incident uint64 `json:"incident,string"`
	Parts    int    `json:"parts"`
	Sent     int    `json:"sent"` // parts that the centre has
}
