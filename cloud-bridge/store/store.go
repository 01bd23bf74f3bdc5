// Package store keeps what the centre knows in one SQLite database: every
// event with the bytes that the device signed, and what follows from them —
// incidents, devices, tracks, faults, gaps.
//
// [Store.Commit] is the only way in for events and is one transaction, synced
// to the disk before it returns; only then may anything be acknowledged.
// Events may come in any order and any number of times: what follows from
// them depends on which were stored, not on when.
//
// It verifies no signature (package ingest does), talks to no device and
// serves nothing.
package store

import (
	"context"
	"errors"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A Store is the open database. Its methods may be called from any goroutine.
type Store struct {
	watchers watchers
}

var errSoon = errors.New("store: not built yet")

// Register adds devices to the register, or replaces what it says of them.
// All or none are registered. The error wraps [ErrRegister] for a bad one.
func (s *Store) Register(ctx context.Context, rs ...Registration) error { return errSoon }

// Commit stores a batch in one transaction, durably, or returns an error and
// nothing of it may be acknowledged. Committing the same again is harmless.
func (s *Store) Commit(ctx context.Context, b Batch) (Committed, error) {
	return Committed{}, errSoon
}

// Incidents returns incidents without their timelines: the most urgent first,
// then the oldest.
func (s *Store) Incidents(ctx context.Context, f Filter) ([]incident.Incident, error) {
	return nil, errSoon
}

// Incident returns one with its timeline. The error wraps [ErrNotFound].
func (s *Store) Incident(ctx context.Context, id int64) (*incident.Incident, error) {
	return nil, errSoon
}

// Acknowledge takes the step of that name, makes the notice that tells the
// device, and returns the incident as it is then, with its timeline. The error
// wraps [ErrNotFound], [incident.ErrState] or [incident.ErrField].
func (s *Store) Acknowledge(ctx context.Context, id int64, by string) (*incident.Incident, error) {
	return nil, errSoon
}

// Dispatch is like [Store.Acknowledge].
func (s *Store) Dispatch(ctx context.Context, id int64, by, unit string) (*incident.Incident, error) {
	return nil, errSoon
}

// CloseIncident is like [Store.Acknowledge].
func (s *Store) CloseIncident(ctx context.Context, id int64, by string, code incident.Code, note string) (*incident.Incident, error) {
	return nil, errSoon
}

// Devices returns all registered devices by id.
func (s *Store) Devices(ctx context.Context) ([]Device, error) { return nil, errSoon }

// Device returns one. The error wraps [ErrNotFound].
func (s *Store) Device(ctx context.Context, id string) (*Device, error) { return nil, errSoon }

// Events returns a device's events in the order of their storing. The error
// wraps [ErrNotFound] when there is no such device.
func (s *Store) Events(ctx context.Context, device string, q EventQuery) ([]EventRow, error) {
	return nil, errSoon
}

// Track returns a device's fixes by their own time, from ≤ time < to; a zero
// time is no bound. At most limit fixes (0: all), the latest. The error wraps
// [ErrNotFound].
func (s *Store) Track(ctx context.Context, device string, from, to time.Time, limit int) ([]Fix, error) {
	return nil, errSoon
}

// Refused returns what was not accepted.
func (s *Store) Refused(ctx context.Context) (Refusals, error) { return Refusals{}, errSoon }

// Pending returns the notices that devices have not answered, of one device
// or, for "", of all.
func (s *Store) Pending(ctx context.Context, device string) ([]PendingNotice, error) {
	return nil, errSoon
}

// Ack returns how far a stream has come, for every lane. An unknown stream
// has come to 0.
func (s *Store) Ack(ctx context.Context, device string, stream wire.StreamID) (wire.Ack, error) {
	return wire.Ack{}, errSoon
}

// Writable returns nil when a transaction can be written and synced now.
func (s *Store) Writable(ctx context.Context) error { return errSoon }
