package terminal

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// tokenBytes is how much chance is in a token.
const tokenBytes = 16

// LoadOrCreateToken returns the token that a screen's browser must have, made
// at the first call and kept in a file that only the device's user reads.
func LoadOrCreateToken(dir string) (string, error) {
	path := filepath.Join(dir, "terminal.token")
	b, err := os.ReadFile(path)
	if err == nil {
		token := strings.TrimSpace(string(b))
		if raw, err := hex.DecodeString(token); err != nil || len(raw) != tokenBytes {
			return "", fmt.Errorf("%s: want %d hexadecimal digits: remove it, and another is made", path, 2*tokenBytes)
		}
		return token, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	raw := make([]byte, tokenBytes)
	rand.Read(raw) // never fails
	token := hex.EncodeToString(raw)
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", err
	}
	_, err = f.WriteString(token + "\n")
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return "", errors.Join(err, os.Remove(path))
	}
	return token, nil
}
