package fingerprinttest

import (
	"encoding/binary"
	"slices"

	"github.com/fengsui/fengsui/firmware/fingerprint"
)

// Instructions that public drivers send, and this project's driver does not.
const (
	opMatch     fingerprint.Opcode = 0x03
	opEmpty     fingerprint.Opcode = 0x0D
	opSetPara   fingerprint.Opcode = 0x0E // SetSysPara
	opRandom    fingerprint.Opcode = 0x14 // GetRandomCode
	opFast      fingerprint.Opcode = 0x1B // HighSpeedSearch
	opCheck     fingerprint.Opcode = 0x36 // CheckSensor, R503
	opSoftReset fingerprint.Opcode = 0x3D // R503
	opHandshake fingerprint.Opcode = 0x40
	opEcho      fingerprint.Opcode = 0x53 // GetEcho of some revisions

	handshake = 0x55 // "here I am", after power and reset
)

// carryOut does what an instruction asks for. The caller holds mu.
func (s *Sensor) carryOut(op fingerprint.Opcode, arg []byte) (fingerprint.Code, []byte) {
	if want, known := arguments(op); known && len(arg) != want {
		return fingerprint.ErrPacket, nil
	}
	if op != fingerprint.OpVfyPwd && op != opHandshake && op != opEcho && s.password != 0 && !s.verified {
		return fingerprint.ErrUnverified, nil
	}
	switch op {
	case fingerprint.OpVfyPwd:
		if s.verified = binary.BigEndian.Uint32(arg) == s.password; !s.verified {
			return fingerprint.ErrPassword, nil
		}
		return fingerprint.OK, nil
	case fingerprint.OpSetPwd:
		if s.fault == FlashFails {
			return fingerprint.ErrFlash, nil
		}
		s.password, s.verified = binary.BigEndian.Uint32(arg), false
		return fingerprint.OK, nil
	case opHandshake, opCheck:
		return fingerprint.OK, nil
	case opEcho:
		return handshake, nil
	case opSoftReset:
		s.forget()
		return fingerprint.OK, nil
	case opRandom:
		return fingerprint.OK, []byte{0x4D, 0x1B, 0x9C, 0x02} // as random as a test wants it
	case fingerprint.OpAura:
		if s.opt.NoRing {
			return fingerprint.ErrInstr, nil
		}
		s.light = fingerprint.Light{Control: arg[0], Speed: arg[1], Colour: arg[2], Times: arg[3]}
		return fingerprint.OK, nil
	case fingerprint.OpReadSysPara:
		return fingerprint.OK, s.parameters()
	case opSetPara:
		return s.setParameter(arg[0], arg[1])
	case fingerprint.OpGenImg, fingerprint.OpImg2Tz, opMatch, fingerprint.OpSearch, opFast, fingerprint.OpRegModel:
		return s.fingers(op, arg)
	case fingerprint.OpStore, fingerprint.OpDelete, opEmpty, fingerprint.OpTemplateCount, fingerprint.OpReadIndex:
		return s.templates(op, arg)
	// What moves a template or an image is refused, whoever asks.
	case fingerprint.OpUpChar, fingerprint.OpDownChar:
		return fingerprint.ErrUpChar, nil
	case fingerprint.OpUpImage, fingerprint.OpDownImage:
		return fingerprint.ErrUpImage, nil
	case fingerprint.OpLoadChar:
		return fingerprint.ErrReadTemplate, nil
	}
	return fingerprint.ErrInstr, nil
}

// arguments returns how many argument bytes an instruction has.
func arguments(op fingerprint.Opcode) (n int, known bool) {
	n, known = map[fingerprint.Opcode]int{
		fingerprint.OpGenImg: 0, fingerprint.OpImg2Tz: 1, opMatch: 0, fingerprint.OpSearch: 5, opFast: 5, fingerprint.OpRegModel: 0,
		fingerprint.OpStore: 3, fingerprint.OpDelete: 4, opEmpty: 0, opSetPara: 2, fingerprint.OpReadSysPara: 0, fingerprint.OpSetPwd: 4,
		fingerprint.OpVfyPwd: 4, opRandom: 0, fingerprint.OpTemplateCount: 0, fingerprint.OpReadIndex: 1, fingerprint.OpAura: 4,
	}[op]
	return n, known
}

// fingers carries out what concerns the finger and the feature buffers.
func (s *Sensor) fingers(op fingerprint.Opcode, arg []byte) (fingerprint.Code, []byte) {
	switch op {
	case fingerprint.OpGenImg:
		s.image, s.fresh = s.finger, false
		switch s.finger {
		case NoFinger:
			return fingerprint.ErrNoFinger, nil
		case Blurred:
			s.image = NoFinger
			return fingerprint.ErrImage, nil
		}
		return fingerprint.OK, nil
	case fingerprint.OpImg2Tz:
		if arg[0] < 1 || arg[0] > 2 {
			return fingerprint.ErrPacket, nil
		}
		if s.image == NoFinger {
			return fingerprint.ErrNoImage, nil
		}
		if code, bad := spoilt(s.image); bad {
			return code, nil
		}
		s.buffers[arg[0]], s.fresh = s.image, true
		return fingerprint.OK, nil
	case fingerprint.OpRegModel:
		if s.buffers[1] == NoFinger || s.buffers[1] != s.buffers[2] {
			return fingerprint.ErrCombine, nil
		}
		return fingerprint.OK, nil
	case opMatch:
		if s.buffers[1] == NoFinger || s.buffers[1] != s.buffers[2] {
			return fingerprint.ErrMismatch, make([]byte, 2)
		}
		return fingerprint.OK, binary.BigEndian.AppendUint16(nil, uint16(s.opt.Score))
	}
	return s.search(arg)
}

// search answers a search of a page of the library: buffer, start, count.
func (s *Sensor) search(arg []byte) (fingerprint.Code, []byte) {
	if arg[0] < 1 || arg[0] > 2 {
		return fingerprint.ErrPacket, nil
	}
	start, count := int(binary.BigEndian.Uint16(arg[1:])), int(binary.BigEndian.Uint16(arg[3:]))
	for slot := start; slot < min(start+count, s.opt.Library); slot++ {
		finger, there := s.library[slot]
		if !there || !s.fresh || finger != s.buffers[arg[0]] {
			continue
		}
		if s.fault == SlotRange {
			slot = s.opt.Library + 7
		}
		return fingerprint.OK, binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, uint16(slot)), uint16(s.opt.Score))
	}
	return fingerprint.ErrNotFound, make([]byte, 4)
}

// templates carries out what concerns the library.
func (s *Sensor) templates(op fingerprint.Opcode, arg []byte) (fingerprint.Code, []byte) {
	switch op {
	case fingerprint.OpTemplateCount:
		return fingerprint.OK, binary.BigEndian.AppendUint16(nil, uint16(len(s.library)))
	case fingerprint.OpReadIndex:
		return s.index(arg[0])
	case fingerprint.OpStore:
		slot := int(binary.BigEndian.Uint16(arg[1:]))
		switch {
		case arg[0] < 1 || arg[0] > 2:
			return fingerprint.ErrPacket, nil
		case slot >= s.opt.Library:
			return fingerprint.ErrSlot, nil
		case s.fault == FlashFails, s.buffers[arg[0]] == NoFinger:
			return fingerprint.ErrFlash, nil
		}
		s.library[slot] = s.buffers[arg[0]]
		return fingerprint.OK, nil
	case opEmpty:
		clear(s.library)
		return fingerprint.OK, nil
	}
	start, count := int(binary.BigEndian.Uint16(arg)), int(binary.BigEndian.Uint16(arg[2:]))
	if s.fault == FlashFails || start+count > s.opt.Library {
		return fingerprint.ErrDelete, nil
	}
	for slot := start; slot < start+count; slot++ {
		delete(s.library, slot)
	}
	return fingerprint.OK, nil
}

// index answers ReadIndexTable: a bit a slot of the page of 256, the lowest
// slot first, in the lowest bit of the first byte.
func (s *Sensor) index(page byte) (fingerprint.Code, []byte) {
	if page > 3 {
		return fingerprint.ErrPacket, nil
	}
	b := make([]byte, 32)
	for slot := range s.library {
		if slot/256 == int(page) {
			b[slot%256/8] |= 1 << (slot % 8)
		}
	}
	return fingerprint.OK, b
}

// parameters are the 16 bytes of ReadSysPara (R503 user manual 1.2.2, chapter
// IV, "System parameters"): status, system id, library size, security level,
// address, packet size code, baud rate in units of 9600.
func (s *Sensor) parameters() []byte {
	var status uint16
	if s.verified {
		status |= 1 << 2
	}
	if s.image != NoFinger {
		status |= 1 << 3
	}
	b := binary.BigEndian.AppendUint16(nil, status)
	b = binary.BigEndian.AppendUint16(b, 0)
	b = binary.BigEndian.AppendUint16(b, uint16(s.opt.Library))
	b = binary.BigEndian.AppendUint16(b, 3)
	b = binary.BigEndian.AppendUint32(b, fingerprint.DefaultAddress)
	b = binary.BigEndian.AppendUint16(b, 2) // 128 bytes
	return binary.BigEndian.AppendUint16(b, uint16(s.opt.Baud/9600))
}

// setParameter answers SetSysPara: 4 is the speed, 5 the security level, 6 the
// packet size. Of the three only the speed is kept: nothing here depends on
// the others.
func (s *Sensor) setParameter(number, value byte) (fingerprint.Code, []byte) {
	highest := map[byte]byte{4: 12, 5: 5, 6: 3}
	lowest := map[byte]byte{4: 1, 5: 1, 6: 0}
	switch {
	case !slices.Contains([]byte{4, 5, 6}, number):
		return fingerprint.ErrRegister, nil
	case value < lowest[number] || value > highest[number]:
		return fingerprint.ErrRegisterValue, nil
	case number == 4:
		s.opt.Baud = 9600 * int(value)
	}
	return fingerprint.OK, nil
}
