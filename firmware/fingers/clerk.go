package fingers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fengsui/fengsui/firmware/fingerprint"
)

// A Clerk changes sensor and roster together. Who may ask is the caller's care.
type Clerk struct {
	Reader *fingerprint.Reader // whose Run is in progress
	Roster *Roster
}

// AnySlot stands for the lowest slot that is free.
const AnySlot = -1

// A Request asks for a finger to be enrolled.
type Request struct {
	Slot    int // or AnySlot
	Officer string
	Role    Role
	Duress  bool
}

// Enrol enrols a finger and returns its slot. The template comes before the
// entry: what a power cut leaves is a template that is nobody's, and a match of
// it is refused. Errors are those of fingerprint.Reader.Enrol and of
// Roster.Add, or name the field that is wrong.
func (c Clerk) Enrol(ctx context.Context, q Request, by string, progress func(fingerprint.Progress)) (slot int, err error) {
	f := Finger{Officer: q.Officer, Role: q.Role, Duress: q.Duress, By: by}
	if err := f.Validate(); err != nil {
		return 0, fmt.Errorf("fingers: %w", err)
	}
	if slot, err = c.slot(ctx, q.Slot); err != nil {
		return 0, err
	}
	if err := c.Reader.Enrol(ctx, slot, progress); err != nil {
		return 0, err
	}
	if err := c.Roster.Add(slot, f); err != nil {
		return 0, errors.Join(err, c.Reader.Delete(context.WithoutCancel(ctx), slot))
	}
	return slot, nil
}

// slot finds a free slot, or sees that the one that was asked for can be had.
func (c Clerk) slot(ctx context.Context, asked int) (int, error) {
	taken, library, err := c.Reader.Slots(ctx)
	if err != nil {
		return 0, err
	}
	all := c.Roster.All()
	if asked != AnySlot {
		if f, ok := all[asked]; ok && f.By == ByConfig {
			return 0, fmt.Errorf("fingers: slot %d: %w", asked, ErrConfigured)
		}
		return asked, nil // the rest Reader.Enrol sees
	}
	for slot := 1; slot < library; slot++ { // 0 is left out: to people it looks like none
		if _, ok := all[slot]; !ok && !slices.Contains(taken, slot) {
			return slot, nil
		}
	}
	return 0, fmt.Errorf("fingers: %w: all %d slots are taken", fingerprint.ErrLibraryFull, library)
}

// Delete deletes a finger: first the entry, so that it counts no more, then the
// template. A template that is nobody's is deleted, too. The error wraps
// ErrConfigured, ErrNoFinger when there is neither, or is the sensor's.
func (c Clerk) Delete(ctx context.Context, slot int, by string) error {
	taken, _, err := c.Reader.Slots(ctx)
	if err != nil {
		return err
	}
	err = c.Roster.Remove(slot, by)
	there := slices.Contains(taken, slot)
	if err != nil && !(errors.Is(err, ErrNoFinger) && there) {
		return err
	}
	if !there {
		return nil
	}
	return c.Reader.Delete(ctx, slot)
}

// A Listing is what roster and sensor hold.
type Listing struct {
	Library int            // the sensor's number of slots
	Fingers map[int]Finger // by slot
	Nobodys []int          // templates that belong to nobody: a match is refused
	Empty   []int          // slots that the roster names and the sensor does not have
}

// List compares roster and sensor.
func (c Clerk) List(ctx context.Context) (Listing, error) {
	taken, library, err := c.Reader.Slots(ctx)
	if err != nil {
		return Listing{}, err
	}
	l := Listing{Library: library, Fingers: c.Roster.All()}
	for _, slot := range taken {
		if _, ok := l.Fingers[slot]; !ok {
			l.Nobodys = append(l.Nobodys, slot)
		}
	}
	for _, slot := range slices.Sorted(maps.Keys(l.Fingers)) {
		if !slices.Contains(taken, slot) {
			l.Empty = append(l.Empty, slot)
		}
	}
	return l, nil
}
