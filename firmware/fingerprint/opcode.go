package fingerprint

import "fmt"

// An Opcode is an instruction code of the sensor (R503 user manual 1.2.2,
// chapter V; R30x user manual, chapter V).
type Opcode byte

// The instructions that this driver sends.
const (
	OpGenImg        Opcode = 0x01 // capture an image of the finger
	OpImg2Tz        Opcode = 0x02 // make a feature file of the image
	OpSearch        Opcode = 0x04 // search the library for a feature file
	OpRegModel      Opcode = 0x05 // make a template of the feature files in both buffers; it stays in them
	OpStore         Opcode = 0x06 // write the template of a buffer to a slot of the sensor's own flash
	OpDelete        Opcode = 0x0C // delete templates; we only ever ask for one
	OpReadSysPara   Opcode = 0x0F // read the system parameters
	OpSetPwd        Opcode = 0x12 // set the password
	OpVfyPwd        Opcode = 0x13 // verify the password
	OpTemplateCount Opcode = 0x1D // read the number of templates
	OpReadIndex     Opcode = 0x1F // read which slots hold a template: a bit a slot, of 256 slots
	OpAura          Opcode = 0x35 // light the ring (R503 and its kin)
)

// The instructions that move templates or images. They are named here so that
// a log can name them; they are never sent, see Opcode.Allowed. None of them
// is needed to enrol: two captures, RegModel and Store all work inside the
// sensor. LoadChar moves a template only to where UpChar would find it, and
// what it would be good for, comparing a finger with one slot, Search does.
const (
	OpLoadChar  Opcode = 0x07 // read a template from the library into a buffer, where UpChar finds it
	OpUpChar    Opcode = 0x08 // send a feature file or template out of the sensor
	OpDownChar  Opcode = 0x09 // send one into the sensor
	OpUpImage   Opcode = 0x0A // send the image out of the sensor
	OpDownImage Opcode = 0x0B // send an image into the sensor
)

// Allowed reports whether this driver can send the instruction at all. The
// list is short on purpose: whatever is not on it cannot reach a sensor, and
// what would move a template or an image over the wire is not on it.
func (op Opcode) Allowed() bool {
	_, ok := op.shape()
	return ok
}

// shape is the allow-list: the number of argument bytes behind the opcode, and
// the length of a good acknowledgement's content, confirmation code included.
func (op Opcode) shape() (s struct{ args, reply int }, ok bool) {
	switch op {
	case OpGenImg:
		s.args, s.reply = 0, 1
	case OpImg2Tz:
		s.args, s.reply = 1, 1
	case OpSearch:
		s.args, s.reply = 5, 5
	case OpRegModel:
		s.args, s.reply = 0, 1
	case OpStore:
		s.args, s.reply = 3, 1
	case OpDelete:
		s.args, s.reply = 4, 1
	case OpReadSysPara:
		s.args, s.reply = 0, 17
	case OpSetPwd, OpVfyPwd:
		s.args, s.reply = 4, 1
	case OpTemplateCount:
		s.args, s.reply = 0, 3
	case OpReadIndex:
		s.args, s.reply = 1, 1+indexBytes
	case OpAura:
		s.args, s.reply = 4, 1
	default:
		return s, false
	}
	return s, true
}

// String returns the manual's name of the instruction.
func (op Opcode) String() string {
	switch op {
	case OpGenImg:
		return "GenImg"
	case OpImg2Tz:
		return "Img2Tz"
	case OpSearch:
		return "Search"
	case OpRegModel:
		return "RegModel"
	case OpStore:
		return "Store"
	case OpDelete:
		return "DeletChar" // the manual's spelling
	case OpSetPwd:
		return "SetPwd"
	case OpReadIndex:
		return "ReadIndexTable"
	case OpAura:
		return "AuraLedConfig"
	case OpReadSysPara:
		return "ReadSysPara"
	case OpVfyPwd:
		return "VfyPwd"
	case OpTemplateCount:
		return "TempleteNum" // the manual's spelling
	case OpLoadChar:
		return "LoadChar"
	case OpUpChar:
		return "UpChar"
	case OpDownChar:
		return "DownChar"
	case OpUpImage:
		return "UpImage"
	case OpDownImage:
		return "DownImage"
	}
	return fmt.Sprintf("instruction 0x%02X", byte(op))
}
