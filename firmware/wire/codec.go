package wire

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/fxamacker/cbor/v2"
	"github.com/veraison/go-cose"
)

// MaxMessage is the size in bytes that no sealed message exceeds. A receiver
// may refuse a longer one unread.
const MaxMessage = 64 << 10

// Errors of opening a message.
var (
	// ErrEnvelope means that the bytes are not a COSE_Sign1 message of this
	// contract.
	ErrEnvelope = errors.New("bad envelope")
	// ErrSignature means that the signature does not verify with the given key.
	ErrSignature = errors.New("bad signature")
	// ErrMessage means that the signed payload breaks the contract; the error
	// names the field, the value and what would be right.
	ErrMessage = errors.New("bad message")
)

// Extra keeps the map entries whose keys this version does not know, as they
// came, so that they can be passed on. A key is a uint64 in everything that
// this version writes; what a stranger sends may also be an int64 or a string.
type Extra map[any]cbor.RawMessage

// The external_aad of each kind of message.
var (
	aadEvent = []byte("fs/v1/event")
	aadHello = []byte("fs/v1/hello")
	aadDown  = []byte("fs/v1/down")
	aadGroup = []byte("fs/v1/group")
)

// codec holds the two CBOR modes; both are immutable once made.
var codec = sync.OnceValue(func() (c struct {
	enc cbor.EncMode
	dec cbor.DecMode
},
) {
	var err error
	if c.enc, err = cbor.CoreDetEncOptions().EncMode(); err != nil {
		panic(err) // constant options
	}
	c.dec, err = cbor.DecOptions{
		DupMapKey:        cbor.DupMapKeyEnforcedAPF,
		IndefLength:      cbor.IndefLengthForbidden,
		MaxNestedLevels:  16,
		MaxArrayElements: 4096,
		MaxMapPairs:      256,
		UTF8:             cbor.UTF8RejectInvalid,
	}.DecMode()
	if err != nil {
		panic(err)
	}
	return c
})

// seal signs v's deterministic encoding.
func seal(v any, extra Extra, aad []byte, key ed25519.PrivateKey) ([]byte, error) {
	payload, err := encodeMap(v, extra)
	if err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("seal: private key of %d bytes: want %d", len(key), ed25519.PrivateKeySize)
	}
	signer, err := cose.NewSigner(cose.AlgorithmEdDSA, key)
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	m := cose.Sign1Message{
		Headers: cose.Headers{Protected: cose.ProtectedHeader{cose.HeaderLabelAlgorithm: cose.AlgorithmEdDSA}},
		Payload: payload,
	}
	if err := m.Sign(nil, aad, signer); err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	msg, err := m.MarshalCBOR()
	if err != nil {
		return nil, fmt.Errorf("seal: %w", err)
	}
	if len(msg) > MaxMessage {
		return nil, fmt.Errorf("%w: message of %d bytes: want at most %d", ErrMessage, len(msg), MaxMessage)
	}
	return msg, nil
}

// unseal returns the payload of msg after verifying it with pub; a nil pub
// skips the verification.
func unseal(msg, aad []byte, pub ed25519.PublicKey) ([]byte, error) {
	if len(msg) > MaxMessage {
		return nil, fmt.Errorf("%w: message of %d bytes: want at most %d", ErrEnvelope, len(msg), MaxMessage)
	}
	var m cose.Sign1Message
	if err := m.UnmarshalCBOR(msg); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrEnvelope, err)
	}
	if alg, err := m.Headers.Protected.Algorithm(); err != nil || alg != cose.AlgorithmEdDSA {
		return nil, fmt.Errorf("%w: protected header alg: want EdDSA (-8)", ErrEnvelope)
	}
	if pub == nil {
		return m.Payload, nil
	}
	v, err := cose.NewVerifier(cose.AlgorithmEdDSA, pub)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	if err := m.Verify(aad, v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSignature, err)
	}
	return m.Payload, nil
}

// encodeMap encodes the struct v, tagged with integer keys, together with the
// entries that this version did not know.
func encodeMap(v any, extra Extra) (cbor.RawMessage, error) {
	b, err := codec().enc.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	if len(extra) == 0 {
		return b, nil
	}
	all := make(Extra)
	if err := codec().dec.Unmarshal(b, &all); err != nil {
		return nil, fmt.Errorf("encode %T: %w", v, err)
	}
	for k, raw := range extra {
		if _, known := all[k]; known {
			return nil, fmt.Errorf("%w: extra key %v of %T: want a key that this version does not know", ErrMessage, k, v)
		}
		all[k] = raw
	}
	return codec().enc.Marshal(all)
}

// decodeMap decodes raw into the struct that v points to and returns the
// entries whose keys v does not have.
func decodeMap(raw []byte, v any) (Extra, error) {
	var all Extra
	if err := codec().dec.Unmarshal(raw, &all); err != nil {
		return nil, fmt.Errorf("%w: want a map with integer keys: %w", ErrMessage, err)
	}
	if err := codec().dec.Unmarshal(raw, v); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrMessage, err)
	}
	t := reflect.TypeOf(v).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("cbor"), ",")
		if key, err := strconv.ParseUint(name, 10, 64); err == nil {
			delete(all, key)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	for key, value := range all {
		switch key.(type) {
		case uint64, int64, string:
		default:
			return nil, bad("a key", fmt.Sprintf("of %T", key), "an integer of 64 bits or a text")
		}
		if err := keepable(value); err != nil {
			return nil, fmt.Errorf("key %v: %w", key, err)
		}
	}
	return all, nil
}

// keepable returns an error when a value that this version does not know could
// not be passed on: a standard tag stands before what it is not for.
func keepable(raw cbor.RawMessage) error {
	if _, err := codec().enc.Marshal(raw); err != nil {
		return fmt.Errorf("%w: %w", ErrMessage, err)
	}
	return nil
}

// unmarshalID decodes a byte string that must be exactly as long as id.
func unmarshalID(b, id []byte) error {
	var s []byte
	if err := codec().dec.Unmarshal(b, &s); err != nil {
		return err
	}
	if len(s) != len(id) {
		return fmt.Errorf("id of %d bytes: want %d", len(s), len(id))
	}
	copy(id, s)
	return nil
}

// bad is an [ErrMessage] that names the field, the value and what would be
// right.
func bad(field string, value any, want string) error {
	return fmt.Errorf("%w: %s %v: want %s", ErrMessage, field, value, want)
}
