package agent

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/fengsui/fengsui/firmware/internal/durable"
)

const (
	keyFile = "device.key"
	keyType = "PRIVATE KEY" // PKCS #8, RFC 5958; in PEM, RFC 7468 section 10
)

// LoadOrCreateKey returns the device's Ed25519 key, kept as PKCS #8 PEM with
// mode 0600 in dir. It is made at the first start, together with dir, and is
// on the disk before LoadOrCreateKey returns. A key file that others may read
// or that does not parse is an error: a key is never replaced silently, since
// the centre knows the device by it.
func LoadOrCreateKey(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, keyFile)
	key, err := loadKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	_, key, err = ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	if err := durable.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: keyType, Bytes: der})); err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	return key, nil
}

func loadKey(path string) (ed25519.PrivateKey, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	if st.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("device key %s: mode %04o: want 0600, so that nobody else can read it", path, st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("device key: %w", err)
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != keyType {
		return nil, fmt.Errorf("device key %s: %d bytes without a PEM block %q: want an Ed25519 key in PKCS #8 PEM", path, len(b), keyType)
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("device key %s: %w", path, err)
	}
	key, ok := k.(ed25519.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("device key %s: %T: want an Ed25519 key", path, k)
	}
	return key, nil
}
