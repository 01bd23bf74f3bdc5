package pin_test

import (
	"errors"
	"testing"

	"github.com/fengsui/fengsui/firmware/pin"
)

func TestHash(t *testing.T) {
	h, err := pin.New("284913")
	if err != nil {
		t.Fatal(err)
	}
	var back pin.Hash
	if err := back.UnmarshalText([]byte(h.String())); err != nil {
		t.Fatal(err)
	}
	if !back.Match("284913") || back.Match("284914") || back.Match("") {
		t.Error("the hash that was read back does not tell its PIN from others")
	}
	other, err := pin.New("284913")
	if err != nil || other.String() == h.String() {
		t.Errorf("two hashes of one PIN are alike (%v)", err)
	}
	if (pin.Hash{}).Match("") || (pin.Hash{}).Match("284913") {
		t.Error("the zero hash matches")
	}
}

// The vector was computed with the reference implementation's command argon2.
func TestReference(t *testing.T) {
	var h pin.Hash
	const text = "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$RWlZLKp14QWtFM5AEk380rk0Ee8IccArflriBxtAFBY"
	if err := h.UnmarshalText([]byte(text)); err != nil {
		t.Fatal(err)
	}
	if !h.Match("284913") {
		t.Error("does not match")
	}
}

func TestBad(t *testing.T) {
	for _, p := range []string{"", "12345", "1234567890123", "111111", "123456", "987654", "28491x", "２８４９１３"} {
		if _, err := pin.New(p); !errors.Is(err, pin.ErrPIN) {
			t.Errorf("%q: %v: want ErrPIN", p, err)
		}
	}
	for _, s := range []string{"", "284913", "$argon2id$v=19$m=19456,t=2,p=1$", "$argon2id$v=19$m=1,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAAA", "$argon2id$v=19$m=19456,t=2,p=1$MDEyMzQ1Njc4OWFiY2RlZg$AAAA"} {
		var h pin.Hash
		if err := h.UnmarshalText([]byte(s)); !errors.Is(err, pin.ErrHash) {
			t.Errorf("%q: %v: want ErrHash", s, err)
		}
	}
}
