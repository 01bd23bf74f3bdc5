package bridge

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A renewed certificate is in use within a minute, without a restart; one that is half
// written, or whose key is another's, leaves the former in use until it is whole.
func TestRenewedCertificate(t *testing.T) {
	dir := t.TempDir()
	certPath, keyPath := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	made := func(serial int64) (cert, key []byte) {
		k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour)}
		der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
		if err != nil {
			t.Fatal(err)
		}
		private, err := x509.MarshalPKCS8PrivateKey(k)
		if err != nil {
			t.Fatal(err)
		}
		return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private})
	}
	stamp := time.Now()
	put := func(path string, b []byte) {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		stamp = stamp.Add(time.Second) // file systems count in ticks
		if err := os.Chtimes(path, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	cert1, key1 := made(1)
	cert2, key2 := made(2)
	put(certPath, cert1)
	put(keyPath, key1)
	synctest.Test(t, func(t *testing.T) {
		c, err := loadCertificate(certPath, keyPath, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		serial := func(what string, want int64) {
			t.Helper()
			time.Sleep(61 * time.Second)
			got, err := c.get(nil)
			if err != nil {
				t.Fatalf("%s: %v", what, err)
			}
			leaf, err := x509.ParseCertificate(got.Certificate[0])
			if err != nil || leaf.SerialNumber.Int64() != want {
				t.Errorf("%s: certificate %v, %v: want %d", what, leaf.SerialNumber, err, want)
			}
		}
		serial("the first", 1)
		put(certPath, cert2[:len(cert2)/2])
		serial("half of the new one", 1)
		put(certPath, cert2)
		serial("the new one with the former key", 1)
		put(keyPath, key2)
		serial("both new", 2)
		if err := os.Remove(certPath); err != nil {
			t.Fatal(err)
		}
		serial("none", 2)
		put(certPath, cert1)
		put(keyPath, key1)
		serial("again the first", 1)
	})
}
