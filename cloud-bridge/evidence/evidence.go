// Package evidence packs what is known of an incident into one archive that
// proves itself without the centre, and checks such an archive.
//
//	manifest.json        what is in it: name, size and SHA-256 of each file; the centre's key
//	manifest.sig         the centre's signature, hexadecimal
//	incident.json        the incident with its timeline, as the desk's API gives it
//	devices.json         the public keys of the devices, as the centre knows them
//	events/NNNN-ID.cose  each event as the device signed it
//	audit.jsonl          who did what, chained; of other incidents only the hashes
//	track.gpx            where the units were
//	track.geojson
//	attachments/ID.EXT   the units' files
//
// Whoever holds the archive and the centre's public key needs nothing else.
// It is pure.
package evidence

import (
	"archive/zip"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"

	"github.com/fengsui/fengsui/cloud-bridge/audit"
	"github.com/fengsui/fengsui/firmware/wire"
)

// ErrEvidence means that an archive is not what the centre packed; the error
// names the file and what is wrong with it.
var ErrEvidence = errors.New("the evidence is not whole")

// A Case is what is packed.
type Case struct {
	Incident    string          // its id
	View        json.RawMessage // the incident as the desk shows it
	Keys        map[string]ed25519.PublicKey
	Events      []Event
	Audit       []audit.Line
	Tracks      map[string][]Fix // by device
	Attachments []Attachment
}

// An Event is one as it came.
type Event struct {
	Device   string
	Message  []byte
	Received time.Time
}

// A Fix is where a unit was.
type Fix struct {
	Lat, Lon float64
	Alt      *float64 // metres
	Time     time.Time
}

// An Attachment is a file of a unit.
type Attachment struct {
	ID   string
	MIME string
	Body []byte
}

// A Manifest says what is in an archive.
type Manifest struct {
	Format   string `json:"format"` // "fengsui evidence 1"
	Incident string `json:"incident"`
	At       string `json:"at"`  // when it was packed, RFC 3339
	Key      string `json:"key"` // the centre's, hexadecimal
	Files    []File `json:"files"`
}

// A File is one of an archive.
type File struct {
	Name   string `json:"name"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
}

const (
	format       = "fengsui evidence 1"
	manifestFile = "manifest.json"
	signature    = "manifest.sig"
	context      = "fs/evidence/1\n" // stands before what is signed
)

// extensions are what files of these media types are called. A type is a
// device's word: any other is called .bin.
var extensions = map[string]string{"image/jpeg": ".jpg", "image/png": ".png", "text/plain": ".txt"}

// Pack writes an archive, signed with the centre's key.
func Pack(w io.Writer, c *Case, key ed25519.PrivateKey, at time.Time) error {
	z := zip.NewWriter(w)
	m := Manifest{Format: format, Incident: c.Incident, At: at.UTC().Format(time.RFC3339), Key: hex.EncodeToString(key.Public().(ed25519.PublicKey))}
	put := func(name string, body []byte) error {
		f, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate, Modified: at})
		if err == nil {
			_, err = f.Write(body)
		}
		return err
	}
	add := func(name string, body []byte) error {
		sum := sha256.Sum256(body)
		m.Files = append(m.Files, File{name, int64(len(body)), hex.EncodeToString(sum[:])})
		return put(name, body)
	}
	files, err := c.files(key, at)
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	for _, f := range files {
		if err := add(f.name, f.body); err != nil {
			return fmt.Errorf("evidence: %s: %w", f.name, err)
		}
	}
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	sign := hex.EncodeToString(ed25519.Sign(key, append([]byte(context), b...)))
	if err := errors.Join(put(manifestFile, b), put(signature, []byte(sign+"\n")), z.Close()); err != nil {
		return fmt.Errorf("evidence: %w", err)
	}
	return nil
}

type named struct {
	name string
	body []byte
}

func (c *Case) files(key ed25519.PrivateKey, at time.Time) ([]named, error) {
	keys := make(map[string]string)
	for id, k := range c.Keys {
		keys[id] = hex.EncodeToString(k)
	}
	devices, err := json.MarshalIndent(keys, "", "  ")
	if err != nil {
		return nil, err
	}
	files := []named{{"incident.json", c.View}, {"devices.json", devices}}
	for n, e := range c.Events {
		files = append(files, named{fmt.Sprintf("events/%04d-%s.cose", n+1, e.Device), e.Message})
	}
	var log strings.Builder
	w := audit.NewWriter(&log)
	for _, l := range c.Audit {
		if err := w.Write(l); err != nil {
			return nil, err
		}
	}
	if err := w.Close(key, at); err != nil {
		return nil, err
	}
	files = append(files, named{"audit.jsonl", []byte(log.String())})
	gpx, geo, err := c.tracks()
	if err != nil {
		return nil, err
	}
	files = append(files, named{"track.gpx", gpx}, named{"track.geojson", geo})
	for _, a := range c.Attachments {
		ext, ok := extensions[a.MIME]
		if !ok {
			ext = ".bin"
		}
		files = append(files, named{"attachments/" + a.ID + ext, a.Body})
	}
	return files, nil
}

// The elements of GPX 1.1 that a track needs: www.topografix.com/GPX/1/1/gpx.xsd.
type (
	gpxFile struct {
		XMLName xml.Name   `xml:"http://www.topografix.com/GPX/1/1 gpx"`
		Version string     `xml:"version,attr"`
		Creator string     `xml:"creator,attr"`
		Tracks  []gpxTrack `xml:"trk"`
	}
	gpxTrack struct {
		Name   string     `xml:"name"`
		Points []gpxPoint `xml:"trkseg>trkpt"`
	}
	gpxPoint struct {
		Lat  float64  `xml:"lat,attr"`
		Lon  float64  `xml:"lon,attr"`
		Ele  *float64 `xml:"ele"`
		Time string   `xml:"time"`
	}
)

const millis = "2006-01-02T15:04:05.000Z"

// tracks writes where the units were, as GPX 1.1 and as GeoJSON.
func (c *Case) tracks() (gpx, geo []byte, err error) {
	g := gpxFile{Version: "1.1", Creator: "Fengsui"}
	collection := geojson.NewFeatureCollection()
	for _, id := range slices.Sorted(maps.Keys(c.Tracks)) {
		track := gpxTrack{Name: id}
		var line orb.LineString
		var times []string
		for _, f := range c.Tracks[id] {
			at := f.Time.UTC().Format(millis)
			track.Points = append(track.Points, gpxPoint{f.Lat, f.Lon, f.Alt, at})
			line, times = append(line, orb.Point{f.Lon, f.Lat}), append(times, at)
		}
		g.Tracks = append(g.Tracks, track)
		if len(line) > 1 {
			f := geojson.NewFeature(line)
			f.Properties = geojson.Properties{"device": id, "times": times}
			collection.Append(f)
		}
	}
	if gpx, err = xml.MarshalIndent(g, "", " "); err != nil {
		return nil, nil, err
	}
	geo, err = json.Marshal(collection)
	return append([]byte(xml.Header), gpx...), geo, err
}

// A Report says what a checked archive holds.
type Report struct {
	Manifest Manifest
	Events   int
	Devices  int
	Audit    audit.Chain
	Files    int // attachments
}

// Limits of an archive that is checked.
const (
	maxFile  = 64 << 20
	maxTotal = 512 << 20
	maxFiles = 100_000
)

// Verify checks an archive. A key, unless nil, is that of the centre; without
// it the archive is only whole in itself. The error wraps [ErrEvidence].
func Verify(r io.ReaderAt, size int64, key ed25519.PublicKey) (*Report, error) {
	z, err := zip.NewReader(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: it is no archive: %w", ErrEvidence, err)
	}
	files, err := read(z)
	if err != nil {
		return nil, err
	}
	rep := new(Report)
	if err := manifest(files, key, &rep.Manifest); err != nil {
		return nil, err
	}
	keys := make(map[string]ed25519.PublicKey)
	var text map[string]string
	if err := json.Unmarshal(files["devices.json"], &text); err != nil {
		return nil, fmt.Errorf("%w: devices.json: %w", ErrEvidence, err)
	}
	for id, k := range text {
		b, err := hex.DecodeString(k)
		if err != nil || len(b) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("%w: devices.json: %s: key %q: want 64 hexadecimal digits", ErrEvidence, id, k)
		}
		keys[id] = b
	}
	rep.Devices = len(keys)
	parts := make(map[wire.Hash]map[uint64][]byte)
	for _, f := range rep.Manifest.Files {
		if !strings.HasPrefix(f.Name, "events/") {
			continue
		}
		rep.Events++
		if err := event(f.Name, files[f.Name], keys, parts); err != nil {
			return nil, err
		}
	}
	centre, err := hex.DecodeString(rep.Manifest.Key)
	if err != nil {
		return nil, fmt.Errorf("%w: manifest.json: key: %w", ErrEvidence, err)
	}
	rep.Audit, _, err = audit.Read(strings.NewReader(string(files["audit.jsonl"])), centre, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: audit.jsonl: %w", ErrEvidence, err)
	}
	for _, f := range rep.Manifest.Files {
		if name, is := strings.CutPrefix(f.Name, "attachments/"); is {
			rep.Files++
			if err := attachment(name, files[f.Name], parts); err != nil {
				return nil, err
			}
		}
	}
	return rep, nil
}

// read reads all files of an archive, within limits.
func read(z *zip.Reader) (map[string][]byte, error) {
	if len(z.File) > maxFiles {
		return nil, fmt.Errorf("%w: %d files: want at most %d", ErrEvidence, len(z.File), maxFiles)
	}
	files := make(map[string][]byte)
	total := 0
	for _, f := range z.File {
		if _, twice := files[f.Name]; twice {
			return nil, fmt.Errorf("%w: %s is in it twice", ErrEvidence, f.Name)
		}
		in, err := f.Open()
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrEvidence, f.Name, err)
		}
		body, err := io.ReadAll(io.LimitReader(in, maxFile+1))
		if err = errors.Join(err, in.Close()); err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrEvidence, f.Name, err)
		}
		if total += len(body); len(body) > maxFile || total > maxTotal {
			return nil, fmt.Errorf("%w: %s: it is larger than any that the centre packs", ErrEvidence, f.Name)
		}
		files[f.Name] = body
	}
	return files, nil
}

// manifest checks the signature, and that exactly the files of the manifest
// are there, each as it was.
func manifest(files map[string][]byte, key ed25519.PublicKey, m *Manifest) error {
	for _, name := range []string{manifestFile, signature} {
		if _, there := files[name]; !there {
			return fmt.Errorf("%w: %s is missing", ErrEvidence, name)
		}
	}
	if err := json.Unmarshal(files[manifestFile], m); err != nil {
		return fmt.Errorf("%w: manifest.json: %w", ErrEvidence, err)
	}
	own, err := hex.DecodeString(m.Key)
	if err != nil || len(own) != ed25519.PublicKeySize || m.Format != format {
		return fmt.Errorf("%w: manifest.json: format %q, key %q: want %q and 64 hexadecimal digits", ErrEvidence, m.Format, m.Key, format)
	}
	if key != nil && !key.Equal(ed25519.PublicKey(own)) {
		return fmt.Errorf("%w: manifest.json: it is signed with the key %s: want the centre's, %x", ErrEvidence, m.Key, []byte(key))
	}
	sign, err := hex.DecodeString(strings.TrimSpace(string(files[signature])))
	if err != nil || !ed25519.Verify(own, append([]byte(context), files[manifestFile]...), sign) {
		return fmt.Errorf("%w: manifest.json: the signature is not of it: it was changed", ErrEvidence)
	}
	listed := map[string]bool{manifestFile: true, signature: true}
	for _, f := range m.Files {
		body, there := files[f.Name]
		switch sum := sha256.Sum256(body); {
		case !there:
			return fmt.Errorf("%w: %s is missing", ErrEvidence, f.Name)
		case int64(len(body)) != f.Size || hex.EncodeToString(sum[:]) != f.SHA256:
			return fmt.Errorf("%w: %s was changed", ErrEvidence, f.Name)
		}
		listed[f.Name] = true
	}
	for name := range files {
		if !listed[name] {
			return fmt.Errorf("%w: %s was put in", ErrEvidence, name)
		}
	}
	for _, name := range []string{"incident.json", "devices.json", "audit.jsonl", "track.gpx", "track.geojson"} {
		if !listed[name] {
			return fmt.Errorf("%w: %s is missing", ErrEvidence, name)
		}
	}
	return nil
}

// event checks a device's signature.
func event(name string, msg []byte, keys map[string]ed25519.PublicKey, parts map[wire.Hash]map[uint64][]byte) error {
	e, err := wire.Peek(msg)
	if err == nil {
		_, err = wire.Open(msg, keys[e.Device])
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrEvidence, name, err)
	}
	if b, ok := e.Body.(*wire.AttachmentPart); ok {
		if parts[b.ID()] == nil {
			parts[b.ID()] = make(map[uint64][]byte)
		}
		parts[b.ID()][b.Index] = b.Bytes
	}
	return nil
}

// attachment checks that a file is what the device's signed parts make.
func attachment(name string, body []byte, parts map[wire.Hash]map[uint64][]byte) error {
	id, _, _ := strings.Cut(name, ".")
	sum := sha256.Sum256(body)
	if hash := wire.Hash(sum[:16]); hash.String() != id {
		return fmt.Errorf("%w: attachments/%s: its bytes make the name %s", ErrEvidence, name, hash)
	}
	var signed []byte
	of := parts[wire.Hash(sum[:16])]
	for n := range uint64(len(of)) {
		signed = append(signed, of[n]...)
	}
	if string(signed) != string(body) {
		return fmt.Errorf("%w: attachments/%s: the events beside it make another file", ErrEvidence, name)
	}
	return nil
}
