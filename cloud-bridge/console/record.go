package console

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/cloud-bridge/evidence"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// Record reads what proves what happened.
type Record interface {
	// Audit appends an entry.
	Audit(ctx context.Context, by incident.Actor, what, subject, detail string) error
	// AuditLog calls f for each entry from a number on, AuditOf for those of one subject
	// and the sums of those in between.
	AuditLog(ctx context.Context, from int64, f func(audit.Line) error) error
	AuditOf(ctx context.Context, subject string, f func(audit.Line) error) error
	// EventsOf returns the events about an incident as they came.
	EventsOf(ctx context.Context, id int64) ([]store.SignedEvent, error)
	// Attachments returns the files of an incident; Attachment one that is whole, or an
	// error that wraps store.ErrNotFound.
	Attachments(ctx context.Context, id int64) ([]store.Attachment, error)
	Attachment(ctx context.Context, id wire.Hash) (*store.Attachment, []byte, error)
	// Key returns a device's public key.
	Key(ctx context.Context, device string) (ed25519.PublicKey, error)
}

// signer is the key that exports are signed with.
func (c *Console) signer() (ed25519.PrivateKey, error) {
	if len(c.options.Key) != ed25519.PrivateKeySize {
		return nil, problemf(http.StatusServiceUnavailable, "the desk has no key to sign with")
	}
	return c.options.Key, nil
}

// getAudit is the audit record, or that of one incident, as JSON lines with the chain and
// a signed head.
func (c *Console) getAudit(w http.ResponseWriter, r *http.Request) {
	c.export(w, r, "application/jsonl", "audit.jsonl", func() ([]byte, error) {
		values, err := query(r, "from")
		if err != nil {
			return nil, err
		}
		from, err := number(values, "from", 1, 1<<62, 1)
		if err != nil {
			return nil, err
		}
		return c.auditLog(func(f func(audit.Line) error) error { return c.options.Store.AuditLog(r.Context(), from, f) })
	})
}

func (c *Console) getIncidentAudit(w http.ResponseWriter, r *http.Request) {
	c.export(w, r, "application/jsonl", "audit.jsonl", func() ([]byte, error) {
		id, err := c.incidentOf(r)
		if err != nil {
			return nil, err
		}
		return c.auditLog(func(f func(audit.Line) error) error {
			return c.options.Store.AuditOf(r.Context(), "incident/"+formatID(id), f)
		})
	})
}

func (c *Console) auditLog(each func(func(audit.Line) error) error) ([]byte, error) {
	key, err := c.signer()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	out := audit.NewWriter(&b)
	if err := each(out.Write); err != nil {
		return nil, err
	}
	err = out.Close(key, time.Now())
	return b.Bytes(), err
}

// export answers with a file.
func (c *Console) export(w http.ResponseWriter, r *http.Request, media, name string, make func() ([]byte, error)) {
	body, err := make()
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	header := w.Header()
	header.Set("Content-Type", media)
	header.Set("Content-Disposition", "attachment; filename="+strconv.Quote(name))
	header.Set("Content-Length", strconv.Itoa(len(body)))
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(body) // The reader may have gone; there is nobody to tell.
}

// Attachment is a file of a unit.
type Attachment struct {
	ID     string `json:"id"`
	Device string `json:"device"`
	SHA256 string `json:"sha256"`
	Size   int64  `json:"size"`
	MIME   string `json:"mime"`
	State  string `json:"state"`
	Parts  int    `json:"parts"`
	Count  int    `json:"count"`
	At     Time   `json:"at"`
}

func (c *Console) listAttachments(r *http.Request, _ http.ResponseWriter) (any, error) {
	id, err := c.incidentOf(r)
	if err != nil {
		return nil, err
	}
	list, err := c.options.Store.Attachments(r.Context(), id)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Attachments []Attachment `json:"attachments"`
	}{make([]Attachment, 0, len(list))}
	for _, a := range list {
		answer.Attachments = append(answer.Attachments, Attachment{
			a.ID.String(), a.Device, hex.EncodeToString(a.Whole), a.Size, a.MIME, a.State, a.Parts, a.Count, Time{a.At},
		})
	}
	return answer, nil
}

// getAttachment answers with a file's bytes. What a device calls a picture is one only if
// its bytes begin as one does; everything else is for saving, not for showing.
func (c *Console) getAttachment(w http.ResponseWriter, r *http.Request) {
	var id wire.Hash
	b, err := hex.DecodeString(r.PathValue("id"))
	if err != nil || len(b) != len(id) {
		writeProblem(w, problemf(http.StatusNotFound, "there is no attachment %q: ids are 32 hexadecimal digits", shorten(r.PathValue("id"))))
		return
	}
	copy(id[:], b)
	body, err := func() ([]byte, error) {
		if _, err := query(r); err != nil {
			return nil, err
		}
		a, body, err := c.options.Store.Attachment(r.Context(), id)
		if err != nil {
			return nil, err
		}
		return body, c.seesFile(r.Context(), a)
	}()
	media := http.DetectContentType(body)
	if media != "image/jpeg" && media != "image/png" {
		media = "application/octet-stream"
	}
	c.export(w, r, media, id.String(), func() ([]byte, error) { return body, err })
}

// seesFile is nil when the actor sees an incident that a file belongs to, or the device of
// one that belongs to none; for any other the error is as if there were none.
func (c *Console) seesFile(ctx context.Context, a *store.Attachment) (err error) {
	if len(a.Incidents) == 0 {
		err = c.seesDevice(ctx, a.Device)
	}
	for _, id := range a.Incidents {
		if _, err = c.incident(ctx, id); !errors.Is(err, store.ErrNotFound) {
			break
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		err = fmt.Errorf("%w: attachment %s", store.ErrNotFound, a.ID)
	}
	return err
}

// getEvidence is everything about an incident in one signed archive.
func (c *Console) getEvidence(w http.ResponseWriter, r *http.Request) {
	c.export(w, r, "application/zip", "incident-"+shorten(r.PathValue("id"))+".zip", func() ([]byte, error) {
		key, err := c.signer()
		if err != nil {
			return nil, err
		}
		id, err := incidentID(r)
		if err != nil {
			return nil, err
		}
		by, err := c.byOf(r)
		if err != nil {
			return nil, err
		}
		box, err := c.evidence(r.Context(), id)
		if err != nil {
			return nil, err
		}
		var b bytes.Buffer
		if err := evidence.Pack(&b, box, key, time.Now()); err != nil {
			return nil, err
		}
		return b.Bytes(), c.options.Store.Audit(r.Context(), by, "evidence_exported", "incident/"+formatID(id), fmt.Sprintf("%d bytes", b.Len()))
	})
}

// evidence collects what is packed.
func (c *Console) evidence(ctx context.Context, id int64) (*evidence.Case, error) {
	s := c.options.Store
	i, err := c.incident(ctx, id)
	if err != nil {
		return nil, err
	}
	box := &evidence.Case{Incident: formatID(id), Keys: make(map[string]ed25519.PublicKey), Tracks: make(map[string][]evidence.Fix)}
	if box.View, err = json.MarshalIndent(viewIncident(i), "", "  "); err != nil {
		return nil, err
	}
	events, err := s.EventsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, e := range events {
		box.Events = append(box.Events, evidence.Event(e))
		if box.Keys[e.Device], err = s.Key(ctx, e.Device); err != nil {
			return nil, err
		}
	}
	if err := s.AuditOf(ctx, "incident/"+box.Incident, func(l audit.Line) error { box.Audit = append(box.Audit, l); return nil }); err != nil {
		return nil, err
	}
	to := time.Now()
	if i.Closed != nil {
		to = i.Closed.At.Add(time.Minute)
	}
	for n := range i.Units {
		u := &i.Units[n]
		if u.Device == "" {
			continue
		}
		fixes, err := s.Track(ctx, u.Device, i.Began(), to, maxTrack)
		if err != nil {
			return nil, err
		}
		track := make([]evidence.Fix, 0, len(fixes))
		for _, f := range fixes {
			track = append(track, evidence.Fix{Lat: f.Lat, Lon: f.Lon, Alt: f.Alt, Time: f.Time})
		}
		box.Tracks[u.Device] = track
	}
	files, err := s.Attachments(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, a := range files {
		if a.State != store.AttachmentWhole {
			continue
		}
		_, body, err := s.Attachment(ctx, a.ID)
		if err != nil {
			return nil, err
		}
		box.Attachments = append(box.Attachments, evidence.Attachment{ID: a.ID.String(), MIME: a.MIME, Body: body})
	}
	return box, nil
}
