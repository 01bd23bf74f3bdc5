package wire

import "time"

// Fault reports that a fault began or ended.
type Fault struct {
	Code   string `cbor:"1,keyasint"` // what and where: "button_stuck:panic", "gps_lost"
	Active bool   `cbor:"2,keyasint"` // began, or ended
	Detail string `cbor:"3,keyasint,omitempty"`
	Extra  Extra  `cbor:"-"`
}

// Health is the heartbeat.
type Health struct {
	UptimeMs    uint64          `cbor:"1,keyasint"`           // milliseconds since the agent's start
	Queue       map[Lane]uint64 `cbor:"2,keyasint"`           // events in the spool that no Ack covers
	Firmware    string          `cbor:"3,keyasint"`           // version
	MemoryKiB   uint64          `cbor:"4,keyasint,omitempty"` // resident
	DiskFreeKiB uint64          `cbor:"5,keyasint,omitempty"` // on the spool's file system
	GPS         string          `cbor:"6,keyasint,omitempty"` // "none", "searching", "2d", "3d"
	Faults      []string        `cbor:"7,keyasint,omitempty"` // codes of the active faults
	// Started says why the device runs, in its first heartbeat after each start.
	Started     Started `cbor:"8,keyasint,omitempty"`
	Temperature *int64  `cbor:"9,keyasint,omitempty"`  // of the board, tenths of a degree Celsius; nil: not known
	Supply      *Supply `cbor:"10,keyasint,omitempty"` // nil: the board does not watch it
	// Of the cellular modem, where there is one that works.
	SignalDBm int64  `cbor:"20,keyasint,omitempty"` // received power; 0: not known
	Operator  string `cbor:"21,keyasint,omitempty"` // of the network
	RAT       string `cbor:"22,keyasint,omitempty"` // "gsm", "umts", "lte", "nr"
	// Of the wireless network, where there is a radio.
	WiFi     string `cbor:"23,keyasint,omitempty"` // "joining", "joined", "away", "refused", "no_driver", "no_interface", "failed"
	SSID     string `cbor:"24,keyasint,omitempty"` // its name
	RadioDBm int64  `cbor:"25,keyasint,omitempty"` // received power; 0: not known
	Extra    Extra  `cbor:"-"`
}

// Started is why a device runs. A receiver may meet words that it does not know.
type Started string

// Why a device started.
const (
	StartedPower     Started = "power"     // the power came, or came back after a cut or a brown-out
	StartedWatchdog  Started = "watchdog"  // the board's watchdog, as nothing worked any more
	StartedPanic     Started = "panic"     // of the kernel
	StartedCommanded Started = "commanded" // it was ended in order
	StartedHung      Started = "hung"      // the firmware hung, and was started again
	StartedCrashed   Started = "crashed"   // the firmware ended, and was started again
	StartedUnknown   Started = "unknown"   // nothing tells
)

// Supply is what a board says of its supply and of what that did to it.
type Supply uint64

// The bits of a Supply.
const (
	UnderVoltage    Supply = 1 << 0 // now
	UnderVoltageWas Supply = 1 << 1 // since the power came
	Throttled       Supply = 1 << 2 // slowed down for its supply or its heat, now
	ThrottledWas    Supply = 1 << 3 // since the power came
)

// Type returns [TypeFault].
func (*Fault) Type() BodyType { return TypeFault }

// Type returns [TypeHealth].
func (*Health) Type() BodyType { return TypeHealth }

// NewHealth fills the times of a heartbeat.
func NewHealth(uptime time.Duration, firmware string, queue map[Lane]uint64) *Health {
	return &Health{UptimeMs: uint64(uptime.Milliseconds()), Firmware: firmware, Queue: queue}
}

func (b *Fault) validate() error {
	if b.Code == "" {
		return bad("code (1)", `""`, "a fault code")
	}
	if err := text("code (1)", b.Code, 64); err != nil {
		return err
	}
	return text("detail (3)", b.Detail, 512)
}

func (b *Health) validate() error {
	if b.UptimeMs > maxMilli {
		return bad("uptime (1)", b.UptimeMs, "0 to 2^43 milliseconds")
	}
	for _, c := range b.Faults {
		if err := text("faults (7)", c, 64); err != nil {
			return err
		}
	}
	for _, f := range []struct{ name, s string }{{"gps (6)", b.GPS}, {"operator (21)", b.Operator}, {"rat (22)", b.RAT}, {"wifi (23)", b.WiFi}} {
		if err := text(f.name, f.s, 32); err != nil {
			return err
		}
	}
	if b.SignalDBm < -200 || b.SignalDBm > 0 {
		return bad("signal (20)", b.SignalDBm, "-200 to 0 dBm")
	}
	if b.RadioDBm < -200 || b.RadioDBm > 0 {
		return bad("radio (25)", b.RadioDBm, "-200 to 0 dBm")
	}
	// A name has 32 bytes, of which each may be no UTF-8, and become three.
	if err := text("ssid (24)", b.SSID, 96); err != nil {
		return err
	}
	return text("firmware (3)", b.Firmware, 64)
}
