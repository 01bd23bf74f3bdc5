package gps

import (
	"bytes"
	"encoding/hex"
	"io"
	"strings"
)

// An Antenna is what a receiver says of its antenna. One with a passive antenna
// may call it open: it draws no current.
type Antenna uint8

// The states of an antenna.
const (
	AntennaUntold Antenna = iota
	AntennaGood
	AntennaOpen  // unplugged, or its cable is cut
	AntennaShort // its cable is crushed
)

// String returns "untold", "good", "open" or "short".
func (a Antenna) String() string {
	return [...]string{"untold", "good", "open", "short", "untold"}[min(a, 4)]
}

// A Heard is what came beside fixes: each sentence whose checksum is right, and
// each answer to a command.
type Heard struct {
	Sentence string  // its first field, such as GNRMC; "" for an answer in binary
	Antenna  Antenna // AntennaUntold when this says nothing of it
	Answer   *Answer // nil when this is none
}

// An Answer is a receiver's word on a command that it was sent.
type Answer struct {
	To string // as Command.id names it
	OK bool   // it has done so
}

// NewListener returns a decoder of r that also tells, from within Next, of all
// that is heard. So one knows a receiver that searches from one that is mute.
func NewListener(r io.Reader, heard func(Heard)) *Decoder {
	d := NewDecoder(r)
	d.heard = heard
	return d
}

// listen takes a whole sentence.
func (d *Decoder) listen(raw string) {
	body, sum, ok := strings.Cut(raw[1:], "*")
	want, err := hex.DecodeString(sum)
	if !ok || err != nil || len(want) != 1 || want[0] != checksum(body) {
		return
	}
	f := strings.Split(body, ",")
	d.heard(Heard{Sentence: f[0], Antenna: antennaOf(f), Answer: answerOf(f)})
}

// antennaOf reads a sentence that tells of the antenna.
//
//	$GNTXT,01,01,02,ANTSTATUS=OPEN*hh     u-blox (UBX-13003221, "Antenna Status"), Quectel L80/L86 (L80 GPS Protocol Specification, 2.7)
//	$GPTXT,01,01,01,ANTENNA OPEN*25       CASIC (protocol specification V4.2, "ANT")
//	$PQTMANTENNASTATUS,3,2,…*hh           Quectel LC76G, LC86G, LC29H: version, then 0 unknown, 1 good, 2 open, 3 short
func antennaOf(f []string) Antenna {
	words := map[string]Antenna{"OK": AntennaGood, "OPEN": AntennaOpen, "SHORT": AntennaShort}
	switch {
	case f[0] == "PQTMANTENNASTATUS" && len(f) > 2:
		return map[string]Antenna{"1": AntennaGood, "2": AntennaOpen, "3": AntennaShort}[f[2]]
	case len(f[0]) == 5 && f[0][2:] == "TXT" && len(f) > 4:
		if s, ok := strings.CutPrefix(f[4], "ANTSTATUS="); ok {
			return words[s]
		}
		if s, ok := strings.CutPrefix(f[4], "ANTENNA "); ok {
			return words[s]
		}
	}
	return AntennaUntold
}

// answerOf reads a sentence that answers a command: $PMTK001,220,3 (3: done),
// $PAIR001,050,0 (0: done, 1: at work) and $PQTXT,W,OK.
func answerOf(f []string) *Answer {
	switch {
	case f[0] == "PMTK001" && len(f) > 2:
		return &Answer{"PMTK" + f[1], f[2] == "3"}
	case f[0] == "PAIR001" && len(f) > 2 && f[2] != "1":
		return &Answer{"PAIR" + f[1], f[2] == "0"}
	case strings.HasPrefix(f[0], "PQ") && len(f) == 3 && f[1] == "W" && (f[2] == "OK" || strings.HasPrefix(f[2], "ERROR")):
		return &Answer{f[0], f[2] == "OK"}
	}
	return nil
}

// An ackScanner finds UBX-ACK-ACK and UBX-ACK-NAK (UBX-13003221, "UBX-ACK") in
// a stream: the only binary messages that matter here.
type ackScanner [10]byte

func (w *ackScanner) take(c byte) *Answer {
	copy(w[:], w[1:])
	w[9] = c
	if !bytes.HasPrefix(w[:], []byte{0xb5, 0x62, 0x05}) || w[3] > 1 || w[4] != 2 || w[5] != 0 {
		return nil
	}
	if a, b := fletcher(w[2:8]); a != w[8] || b != w[9] {
		return nil
	}
	return &Answer{hex.EncodeToString(w[6:8]), w[3] == 1}
}

// fletcher is the checksum of UBX (UBX-13003221, "UBX Checksum"; RFC 1145).
func fletcher(b []byte) (x, y byte) {
	for _, c := range b {
		x += c
		y += x
	}
	return x, y
}
