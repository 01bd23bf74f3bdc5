package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/terminal"
	"github.com/fengsui/fengsui/firmware/wire"
)

// A photo waits in a file of its own until the centre has it. Its parts go
// through the track lane one by one, each when the one before is acknowledged,
// so that whatever else happens goes before them. How far it has got is kept in
// the spool's state under photoState+id, in the commit of the part.
type photo struct {
	Whole    []byte        `json:"whole"` // SHA-256
	Size     int           `json:"size"`
	Incident uint64        `json:"incident"`
	Next     int           `json:"next"` // the part to be appended next
	Stream   wire.StreamID `json:"stream"`
	Seq      uint64        `json:"seq"`   // of the part that was appended last; 0: none
	Order    uint64        `json:"order"` // photos go in the order in which they were taken
}

const (
	photoState = "photo/"
	photoMIME  = "image/jpeg"
	// maxPhotos bounds what may wait.
	maxPhotos = 16
	partSize  = wire.MaxAttachmentPart
)

func (p *photo) id() wire.Hash { return wire.Hash(p.Whole[:len(wire.Hash{})]) }
func (p *photo) name() string  { return hex.EncodeToString(p.Whole[:len(wire.Hash{})]) }
func (p *photo) parts() int    { return (p.Size + partSize - 1) / partSize }

func (a *Agent) photoPath(name string) string {
	return filepath.Join(a.cfg.Data, "photos", name+".jpg")
}

// keepPhoto writes a photo's file so that a power cut does not lose it. It is
// called beside the loop.
func (a *Agent) keepPhoto(jpeg []byte) (whole []byte, err error) {
	sum := sha256.Sum256(jpeg)
	p := photo{Whole: sum[:]}
	path := a.photoPath(p.name())
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "new-*")
	if err != nil {
		return nil, err
	}
	_, err = f.Write(jpeg)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(f.Name()))
	}
	return sum[:], syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// addPhoto makes a photo whose file is kept known. The note that names it is
// durable with it.
func (a *Agent) addPhoto(whole []byte, size int, incident uint64) (string, error) {
	if a.officer == "" {
		return "", terminal.ErrSignedOff
	}
	p := &photo{Whole: whole, Size: size, Incident: incident}
	t, waits := a.tasks[incident], a.photos[p.name()]
	if t != nil && slices.Contains(t.Photos, p.name()) || waits != nil && waits.Incident == incident {
		return p.name(), nil // taken twice
	}
	var state []spool.KV
	if waits == nil { // else it is on its way for another incident, and the note is enough
		if len(a.photos) >= maxPhotos {
			return "", fmt.Errorf("%w: %d photos wait for the centre", terminal.ErrFull, len(a.photos))
		}
		for _, q := range a.photos {
			p.Order = max(p.Order, q.Order+1)
		}
		a.photos[p.name()] = p
		state = append(state, photoKV(p))
	}
	if t != nil {
		t.Photos = append(t.Photos, p.name())
		state = append(state, taskKV(t))
	}
	a.store(a.stamp(), wire.Duty, &wire.Note{Incident: incident, Attachments: []wire.Hash{p.id()}, Position: a.position()}, nil, state...)
	return p.name(), nil
}

func photoKV(p *photo) spool.KV {
	v, err := json.Marshal(p)
	if err != nil {
		panic(fmt.Sprintf("agent: photo: %v", err)) // a struct of plain members
	}
	return spool.KV{Key: photoState + p.name(), Value: v}
}

// restorePhotos reads back which photos wait.
func (a *Agent) restorePhotos(state map[string][]byte) error {
	for key, v := range state {
		name, ok := strings.CutPrefix(key, photoState)
		if !ok || len(v) == 0 {
			continue
		}
		p := new(photo)
		if err := json.Unmarshal(v, p); err != nil || len(p.Whole) != sha256.Size {
			return fmt.Errorf("photo %s: %w", name, errors.Join(err, errors.New("want its hash and size")))
		}
		a.photos[p.name()] = p
	}
	return nil
}

// sendPhotos appends the next part of the photo that was taken first, when the
// part before it is acknowledged and the track lane is nearly empty: with no
// link a photo waits in its file, and is never a reason to give track up.
func (a *Agent) sendPhotos() {
	if len(a.photos) == 0 || len(a.unsaved.other) > 0 {
		return
	}
	p := slices.MinFunc(slices.Collect(maps.Values(a.photos)), func(x, y *photo) int { return int(x.Order) - int(y.Order) })
	if p.Seq > 0 && !a.acked(p.Stream, wire.Track, p.Seq) {
		return
	}
	if p.Next >= p.parts() {
		a.photoDone(p)
		return
	}
	if a.spool.Depth()[wire.Track] > 4 {
		return
	}
	f, err := os.Open(a.photoPath(p.name()))
	if err != nil {
		a.photoLost(p, err)
		return
	}
	part := make([]byte, min(partSize, p.Size-p.Next*partSize))
	_, err = f.ReadAt(part, int64(p.Next)*partSize)
	if err = errors.Join(err, f.Close()); err != nil {
		a.photoLost(p, err)
		return
	}
	next := *p
	next.Next++
	next.Stream, next.Seq = a.spool.Stream(), a.spool.Window()[wire.Track].Next
	body := &wire.AttachmentPart{
		Whole: p.Whole, Size: uint64(p.Size), Index: uint64(p.Next), Count: uint64(p.parts()), Bytes: part, MIME: photoMIME, Incident: p.Incident,
	}
	a.store(a.stamp(), wire.Track, body, func(seq uint64) {
		next.Seq = seq
		*p = next
	}, photoKV(&next))
}

// photoDone forgets a photo that the centre has.
func (a *Agent) photoDone(p *photo) {
	a.log.Info("photo sent", "id", p.name(), "bytes", p.Size)
	delete(a.photos, p.name())
	a.donePhotos = append(a.donePhotos, p.name())
	if err := os.Remove(a.photoPath(p.name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
		a.log.Warn("photo not removed", "err", err)
	}
}

// photoLost gives a photo up whose file cannot be read; the desk is told which.
func (a *Agent) photoLost(p *photo, err error) {
	a.log.Error("photo cannot be read", "id", p.name(), "err", err)
	a.store(a.stamp(), wire.Duty, &wire.Note{Incident: p.Incident, Text: "photo " + p.name() + " lost: " + err.Error()}, nil)
	delete(a.photos, p.name())
	a.donePhotos = append(a.donePhotos, p.name())
}

// partDropped has a part sent again that was given up for want of room.
func (a *Agent) partDropped(b *wire.AttachmentPart) {
	id := b.ID()
	if p := a.photos[hex.EncodeToString(id[:])]; p != nil {
		p.Next, p.Seq = min(p.Next, int(b.Index)), 0
	}
}

// doneKVs are the states of photos that are done with, to be deleted.
func (a *Agent) doneKVs() (kv []spool.KV) {
	for _, name := range a.donePhotos {
		kv = append(kv, spool.KV{Key: photoState + name})
	}
	a.donePhotos = nil
	return kv
}

// viewPhotos lists the photos that wait, in their order.
func (a *Agent) viewPhotos() []terminal.Photo {
	var out []terminal.Photo
	for _, p := range slices.SortedFunc(maps.Values(a.photos), func(x, y *photo) int { return int(x.Order) - int(y.Order) }) {
		sent := p.Next
		if p.Seq > 0 && !a.acked(p.Stream, wire.Track, p.Seq) {
			sent--
		}
		out = append(out, terminal.Photo{ID: p.name(), Incident: p.Incident, Parts: p.parts(), Sent: sent})
	}
	return out
}
