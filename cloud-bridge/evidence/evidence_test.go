package evidence_test

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/cloud-bridge/evidence"
	"github.com/fengsui/fengsui/firmware/wire"
)

var (
	device = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	centre = ed25519.NewKeyFromSeed(bytes.Repeat([]byte{2}, 32))
	at     = time.Date(2026, 11, 23, 8, 0, 0, 0, time.UTC)
)

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func packed(t *testing.T) []byte {
	t.Helper()
	photo := []byte("\xff\xd8\xff photo")
	whole := sha256.Sum256(photo)
	c := &evidence.Case{
		Incident: "17", View: []byte(`{"id":"17"}`), Keys: map[string]ed25519.PublicKey{"car-01": public(device)},
		Tracks:      map[string][]evidence.Fix{"car-01": {{Lat: 30.1, Lon: 103.1, Time: at}, {Lat: 30.2, Lon: 103.2, Time: at.Add(time.Second)}}},
		Attachments: []evidence.Attachment{{ID: wire.Hash(whole[:16]).String(), MIME: "image/jpeg", Body: photo}},
	}
	for n, b := range []wire.Body{
		&wire.UnitAnswer{Incident: 17, Rev: 1, Answer: wire.AnswerOnScene},
		&wire.AttachmentPart{Whole: whole[:], Size: uint64(len(photo)), Count: 1, Bytes: photo, MIME: "image/jpeg", Incident: 17},
	} {
		msg, err := wire.Seal(&wire.Event{Device: "car-01", Lane: wire.Duty, Seq: uint64(n + 1), Boot: 1, Body: b}, device)
		if err != nil {
			t.Fatal(err)
		}
		c.Events = append(c.Events, evidence.Event{Device: "car-01", Message: msg, Received: at})
	}
	e := audit.Entry{Seq: 1, At: at.UnixMilli(), Who: "li", Screen: "desk", What: "acknowledged", Subject: "incident/17"}
	c.Audit = []audit.Line{{Entry: &e, Hash: audit.Next(audit.Hash{}, e.Sum())}}
	var b bytes.Buffer
	if err := evidence.Pack(&b, c, centre, at); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// change unpacks an archive, lets f change its files, and packs them again.
func change(t *testing.T, b []byte, f func(files map[string][]byte)) []byte {
	t.Helper()
	in, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	files := make(map[string][]byte)
	for _, e := range in.File {
		r, err := e.Open()
		if err != nil {
			t.Fatal(err)
		}
		if files[e.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
	f(files)
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, body := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = w.Write(body)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestVerify(t *testing.T) {
	b := packed(t)
	r, err := evidence.Verify(bytes.NewReader(b), int64(len(b)), public(centre))
	if err != nil || r.Events != 2 || r.Audit.Entries != 1 || r.Files != 1 || r.Manifest.Incident != "17" {
		t.Fatalf("%+v, %v", r, err)
	}
	again := change(t, b, func(map[string][]byte) {}) // packed anew, and the same
	if _, err := evidence.Verify(bytes.NewReader(again), int64(len(again)), nil); err != nil {
		t.Error(err)
	}
	if _, err := evidence.Verify(bytes.NewReader(b), int64(len(b)), public(device)); !errors.Is(err, evidence.ErrEvidence) {
		t.Errorf("another centre's: %v", err)
	}
}

// Each file that is changed, taken out or put in is named.
func TestVerifyRefuses(t *testing.T) {
	b := packed(t)
	var names []string
	change(t, b, func(files map[string][]byte) {
		for name := range files {
			names = append(names, name)
		}
	})
	if len(names) != 10 {
		t.Errorf("%d files: %q", len(names), names)
	}
	refused := func(what, name string, b []byte) {
		t.Helper()
		_, err := evidence.Verify(bytes.NewReader(b), int64(len(b)), public(centre))
		if name == "manifest.sig" {
			name = "manifest"
		}
		if !errors.Is(err, evidence.ErrEvidence) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s %s: %v: want an ErrEvidence that names it", name, what, err)
		}
	}
	for _, name := range names {
		refused("changed", name, change(t, b, func(f map[string][]byte) { f[name][len(f[name])/2] ^= 1 }))
		refused("taken out", name, change(t, b, func(f map[string][]byte) { delete(f, name) }))
	}
	refused("put in", "extra.txt", change(t, b, func(f map[string][]byte) { f["extra.txt"] = []byte("x") }))
	refused("cut", "archive", b[:len(b)/2])
}
