package fingerprint

import (
	"context"
	"encoding/binary"
	"fmt"
)

const (
	indexBytes = 32             // of one page of the index
	indexSlots = 8 * indexBytes // slots of one page
)

// RegModel makes a template of the feature files in both buffers. The error
// wraps ErrCombine when they are not of one finger.
func (s *Sensor) RegModel(ctx context.Context) error {
	_, err := s.do(ctx, OpRegModel)
	return err
}

// Store writes the template of a buffer to a slot; what was there is gone. The
// error wraps ErrSlot, ErrFlash or another Code.
func (s *Sensor) Store(ctx context.Context, buffer byte, slot int) error {
	if err := s.inLibrary(OpStore, slot); err != nil {
		return err
	}
	_, err := s.do(ctx, OpStore, binary.BigEndian.AppendUint16([]byte{buffer}, uint16(slot))...)
	return err
}

// Delete deletes the template of one slot. Of an empty slot it is no error.
// The error wraps ErrDelete or another Code.
func (s *Sensor) Delete(ctx context.Context, slot int) error {
	if err := s.inLibrary(OpDelete, slot); err != nil {
		return err
	}
	_, err := s.do(ctx, OpDelete, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(slot)), 1)...)
	return err
}

// Index returns the slots that hold a template, in their order. Connect must
// have been called before. The error wraps ErrSlotRange when the sensor names
// a slot that it cannot have.
func (s *Sensor) Index(ctx context.Context) ([]int, error) {
	var slots []int
	for page := 0; page*indexSlots < s.params.Library; page++ {
		b, err := s.do(ctx, OpReadIndex, byte(page))
		if err != nil {
			return nil, err
		}
		for i := range indexSlots {
			if b[i/8]&(1<<(i%8)) == 0 { // the lowest slot is the lowest bit of the first byte
				continue
			}
			slot := page*indexSlots + i
			if slot >= s.params.Library {
				return nil, &Error{OpReadIndex, fmt.Errorf("%w: slot %d: want 0 to %d", ErrSlotRange, slot, s.params.Library-1)}
			}
			slots = append(slots, slot)
		}
	}
	return slots, nil
}

func (s *Sensor) inLibrary(op Opcode, slot int) error {
	if slot < 0 || slot >= s.params.Library {
		return &Error{op, fmt.Errorf("%w: %d: want 0 to %d", ErrNoSuchSlot, slot, s.params.Library-1)}
	}
	return nil
}
