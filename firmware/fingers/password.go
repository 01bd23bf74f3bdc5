package fingers

import (
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/internal/durable"
)

// Secret returns the sensor's password, made at random at the first call and
// on the disk, with mode 0600, before it returns: a sensor is never given one
// that a power cut could lose.
func (r *Roster) Secret() (*fingerprint.Secret, error) {
	s, err := r.readPassword()
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = new(fingerprint.Secret)
		for s.Password == 0 { // that would be none
			var b [4]byte
			if _, err := rand.Read(b[:]); err != nil {
				return nil, fmt.Errorf("fingers: %w", err)
			}
			s.Password = binary.BigEndian.Uint32(b[:])
		}
		if err := r.writePassword(s.Password, false); err != nil {
			return nil, err
		}
	}
	s.Taken = func() error { return r.writePassword(s.Password, true) }
	return s, nil
}

// given is what stands behind a password that the sensor has taken.
const given = "given"

func (r *Roster) writePassword(p uint32, taken bool) error {
	line := fmt.Sprintf("%08x", p)
	if taken {
		line += " " + given
	}
	if err := durable.WriteFile(filepath.Join(r.dir, passwordFile), []byte(line+"\n")); err != nil {
		return fmt.Errorf("fingers: %w", err)
	}
	return nil
}

// readPassword returns nil when there is none.
func (r *Roster) readPassword() (*fingerprint.Secret, error) {
	path := filepath.Join(r.dir, passwordFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("fingers: %w", err)
	}
	words := strings.Fields(string(b))
	if len(words) == 0 || len(words) > 2 || len(words) == 2 && words[1] != given {
		return nil, fmt.Errorf("fingers: %s: want 8 hexadecimal digits, and %q behind them once the sensor has taken them", path, given)
	}
	p, err := strconv.ParseUint(words[0], 16, 32)
	if err != nil || len(words[0]) != 8 || p == 0 {
		return nil, fmt.Errorf("fingers: %s: %q: want 8 hexadecimal digits, not all 0", path, words[0])
	}
	return &fingerprint.Secret{Password: uint32(p), Given: len(words) == 2}, nil
}
