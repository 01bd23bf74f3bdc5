package fingerprint

import (
	"errors"
	"fmt"
)

// Errors of the line between us and the sensor.
var (
	// ErrTimeout means that no answer came in time. The sensor may be unplugged,
	// without power, at another baud rate or at another address.
	ErrTimeout = errors.New("no answer in time")
	// ErrPort means that the port failed or was closed; open it anew.
	ErrPort = errors.New("port failed")
	// ErrNotReady means that no sensor answers at the moment.
	ErrNotReady = errors.New("the fingerprint sensor does not answer")
	// ErrUnsolicited means that the sensor sent more acknowledgements than it
	// had commands, so that none of them is believed.
	ErrUnsolicited = errors.New("answers that nobody asked for")
)

// Errors of what the sensor answered, or of what was asked.
var (
	// ErrForbidden means that an instruction is not on the allow-list. Nothing
	// was sent.
	ErrForbidden = errors.New("instruction is not on the allow-list")
	// ErrAnswer means that an acknowledgement is well-formed but cannot be true.
	ErrAnswer = errors.New("impossible answer")
	// ErrSlotRange means that the sensor named a slot that its library does not
	// have. It wraps ErrAnswer.
	ErrSlotRange = fmt.Errorf("%w: slot outside the library", ErrAnswer)
	// ErrForeign means that the sensor does not have the password that this
	// device gave it, but that of the configuration: it is another sensor, and
	// whose fingers it knows is unknown.
	ErrForeign = errors.New("another sensor than the one that this device gave its password")
)

// Errors of an enrolment.
var (
	// ErrNobody means that no finger was laid, or lifted, in time.
	ErrNobody = errors.New("no finger was laid or lifted in time")
	// ErrOccupied means that the slot holds a template already.
	ErrOccupied = errors.New("the slot is taken")
	// ErrNoSuchSlot means that the library has no slot of that number.
	ErrNoSuchSlot = errors.New("no such slot")
)

// Error is an operation on a sensor that failed.
type Error struct {
	Op  Opcode // the instruction
	Err error  // a Code, or wraps one of the Err variables of this package
}

// Error names the instruction and what was wrong.
func (e *Error) Error() string { return "fingerprint: " + e.Op.String() + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// A Code is the confirmation code of an acknowledgement. Every code but OK is
// an error, so that errors.Is(err, ErrNoFinger) and errors.As(err, &code) work.
type Code byte

// OK means that the instruction was carried out. It is no error.
const OK Code = 0x00

// Codes about the line and the access to the sensor. Unless another source is
// named, codes are from the R503 user manual 1.2.2, chapter V; "AS60x" is the
// Synochip AS60x manual, whose codes other sensors of the family share.
const (
	ErrPacket     Code = 0x01 // the sensor received a packet with an error
	ErrPassword   Code = 0x13 // wrong password
	ErrAddress    Code = 0x20 // wrong module address
	ErrUnverified Code = 0x21 // the password must be verified first
	ErrInstr      Code = 0xFC // unsupported instruction
)

// Codes about the finger and its image.
const (
	ErrNoFinger    Code = 0x02 // no finger on the sensor
	ErrImage       Code = 0x03 // the image could not be captured
	ErrTooDry      Code = 0x04 // image too dry or too pale for features (AS60x)
	ErrTooWet      Code = 0x05 // image too wet or too blurred for features (AS60x)
	ErrDisordered  Code = 0x06 // image too disordered for features
	ErrFewFeatures Code = 0x07 // too few feature points, or too small an area
	ErrNoImage     Code = 0x15 // no valid image in the buffer
	ErrResidual    Code = 0x17 // a residual print, or the finger was not moved between two captures (AS60x)
)

// Codes about templates and the library.
const (
	ErrMismatch      Code = 0x08 // the two feature files do not match
	ErrNotFound      Code = 0x09 // nothing in the library matches
	ErrCombine       Code = 0x0A // the feature files could not be combined
	ErrSlot          Code = 0x0B // slot outside the library
	ErrReadTemplate  Code = 0x0C // the template could not be read or is invalid
	ErrDelete        Code = 0x10 // the template could not be deleted
	ErrClear         Code = 0x11 // the library could not be cleared
	ErrAutoEnrol     Code = 0x1E // automatic enrolment failed (AS60x)
	ErrLibraryFull   Code = 0x1F // the library is full
	ErrEmptyTemplate Code = 0x22 // the template is empty
	ErrEmptyLibrary  Code = 0x24 // the library is empty
	ErrEnrolled      Code = 0x27 // the finger is enrolled already
)

// Codes about transfers of data, none of which this driver asks for.
const (
	ErrUpChar       Code = 0x0D // the template could not be sent
	ErrDataPackets  Code = 0x0E // the following data packets cannot be received
	ErrUpImage      Code = 0x0F // the image could not be sent
	ErrUpgrade      Code = 0x16 // the firmware upgrade failed (AS60x)
	ErrBurnSum      Code = 0xF2 // wrong sum when burning the internal flash (AS60x)
	ErrBurnPID      Code = 0xF3 // wrong packet identifier when burning it (AS60x)
	ErrBurnLength   Code = 0xF4 // wrong packet length when burning it (AS60x)
	ErrBurnTooLong  Code = 0xF5 // the code is too long for the flash (AS60x)
	ErrBurnInternal Code = 0xF6 // the internal flash could not be burned (AS60x)
)

// Codes about the sensor itself and its registers.
const (
	ErrSleep         Code = 0x12 // it cannot enter its low-power state (AS60x)
	ErrReset         Code = 0x14 // it could not be reset (AS60x)
	ErrFlash         Code = 0x18 // its flash could not be read or written
	ErrUndefined     Code = 0x19 // an error without a definition
	ErrRegister      Code = 0x1A // no such register
	ErrRegisterValue Code = 0x1B // wrong content for a register
	ErrNotepad       Code = 0x1C // no such page of the notepad
	ErrCommPort      Code = 0x1D // its communication port could not be operated
	ErrSensorTimeout Code = 0x26 // the sensor waited for too long
	ErrSensor        Code = 0x29 // sensor hardware error
	ErrIllegalData   Code = 0x35 // illegal data (R558)
	ErrHardware      Code = 0xFD // hardware error
	ErrFailed        Code = 0xFE // the instruction could not be carried out
)

// Error says what the code means, with its number.
func (c Code) Error() string {
	return fmt.Sprintf("%s (confirmation code 0x%02X)", c.meaning(), byte(c))
}

func (c Code) meaning() string {
	switch c {
	case OK:
		return "done"
	case ErrPacket:
		return "the sensor received a packet with an error"
	case ErrPassword:
		return "wrong password"
	case ErrAddress:
		return "wrong module address"
	case ErrUnverified:
		return "the password must be verified first"
	case ErrInstr:
		return "unsupported instruction"
	case ErrNoFinger:
		return "no finger on the sensor"
	case ErrImage:
		return "the image could not be captured"
	case ErrTooDry:
		return "finger too dry"
	case ErrTooWet:
		return "finger too wet"
	case ErrDisordered:
		return "image too disordered"
	case ErrFewFeatures:
		return "too few feature points in the image"
	case ErrNoImage:
		return "no valid image in the buffer"
	case ErrResidual:
		return "residual print, or the finger was not moved"
	case ErrMismatch:
		return "the fingers do not match"
	case ErrNotFound:
		return "no match in the library"
	case ErrCombine:
		return "the captures could not be combined"
	case ErrSlot:
		return "slot outside the library"
	case ErrReadTemplate:
		return "template cannot be read or is invalid"
	case ErrDelete:
		return "template could not be deleted"
	case ErrClear:
		return "library could not be cleared"
	case ErrAutoEnrol:
		return "automatic enrolment failed"
	case ErrLibraryFull:
		return "library is full"
	case ErrEmptyTemplate:
		return "template is empty"
	case ErrEmptyLibrary:
		return "library is empty"
	case ErrEnrolled:
		return "finger is enrolled already"
	}
	return c.meaningOfMachine()
}

func (c Code) meaningOfMachine() string {
	switch c {
	case ErrUpChar:
		return "template could not be sent"
	case ErrDataPackets:
		return "data packets cannot be received"
	case ErrUpImage:
		return "image could not be sent"
	case ErrUpgrade:
		return "firmware upgrade failed"
	case ErrBurnSum:
		return "wrong sum when burning the flash"
	case ErrBurnPID:
		return "wrong packet identifier when burning the flash"
	case ErrBurnLength:
		return "wrong packet length when burning the flash"
	case ErrBurnTooLong:
		return "code too long for the flash"
	case ErrBurnInternal:
		return "internal flash could not be burned"
	case ErrSleep:
		return "low-power state could not be entered"
	case ErrReset:
		return "sensor could not be reset"
	case ErrFlash:
		return "flash could not be read or written"
	case ErrUndefined:
		return "undefined error"
	case ErrRegister:
		return "no such register"
	case ErrRegisterValue:
		return "wrong content for a register"
	case ErrNotepad:
		return "no such page of the notepad"
	case ErrCommPort:
		return "communication port could not be operated"
	case ErrSensorTimeout:
		return "the sensor waited for too long"
	case ErrSensor:
		return "sensor hardware error"
	case ErrIllegalData:
		return "illegal data"
	case ErrHardware:
		return "hardware error"
	case ErrFailed:
		return "instruction could not be carried out"
	}
	return "code that no manual defines"
}
