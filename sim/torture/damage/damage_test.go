package damage

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"hash/crc32"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/spool"
	"github.com/fengsui/fengsui/firmware/spool/spooltest"
	"github.com/fengsui/fengsui/firmware/wire"
	"github.com/fengsui/fengsui/sim/torture"
)

// bootTime is how long the box may take to be up.
const bootTime = 30 * time.Second

// TestDamagedSpools is rig 4.
func TestDamagedSpools(t *testing.T) {
	seed := torture.Seed(t)
	r := rand.New(rand.NewPCG(seed, 4))
	program := torture.Build(t, "./firmware/cmd/fengsui", "")
	dir := t.TempDir()
	key, err := agent.LoadOrCreateKey(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := &card{t: t, dir: dir, key: key, program: program, clean: filepath.Join(dir, "clean")}
	c.fill()
	var v torture.Verdict
	images := torture.N(30, 1000)
	salvaged, sound := 0, 0
	for i := range images {
		n, damaged := c.image(r, i, &v)
		salvaged += n
		if !damaged {
			sound++
		}
		if len(v.Lost)+len(v.Wrong) > 50 {
			images = i + 1
			break
		}
	}
	v.Report(t, "%d damaged files, %d of them in order for all that is read; %d events still held", images, sound, salvaged)
}

func TestWithoutCRC(t *testing.T) { torture.Mutate(t, "crc-off", "TestDamagedSpools") }

// A card is a device's data folder.
type card struct {
	t       *testing.T
	dir     string
	key     ed25519.PrivateKey
	program string
	clean   string // an undamaged spool
	stream  wire.StreamID
	made    map[wire.Lane]map[uint64][]byte // all that was ever stored
	waits   map[wire.Lane]map[uint64]bool   // what no Ack covers
}

func (c *card) path() string { return filepath.Join(c.dir, "spool.db") }

// fill makes the clean spool.
func (c *card) fill() {
	s, err := spool.Open(c.clean, spool.Options{})
	if err != nil {
		c.t.Fatal(err)
	}
	c.stream, c.made, c.waits = s.Stream(), make(map[wire.Lane]map[uint64][]byte), make(map[wire.Lane]map[uint64]bool)
	for _, l := range wire.Lanes() {
		c.made[l], c.waits[l] = make(map[uint64][]byte), make(map[uint64]bool)
	}
	for i := range 120 {
		for _, l := range wire.Lanes() {
			var msg []byte
			seq, err := s.Append(l, func(at spool.Slot) (b []byte, err error) {
				e := &wire.Event{
					Device: "box-01", Stream: at.Stream, Lane: l, Seq: at.Seq, Prev: at.Prev, Boot: at.Boot, Mono: time.Duration(i) * time.Second,
					Body: &wire.Fault{Code: "x", Active: true, Detail: strings.Repeat("d", i%400)},
				}
				if l == wire.Track {
					b := new(wire.TrackBatch)
					for n := range 60 {
						b.Fixes = append(b.Fixes, wire.TrackFix{Time: 1_800_000_000_000 + int64(i*60+n)*1000, LatE6: 30e6 + int64(n*n*i), LonE6: 103e6})
					}
					e.Body = b
				}
				msg, err = wire.Seal(e, c.key)
				return msg, err
			})
			if err != nil {
				c.t.Fatal(err)
			}
			c.made[l][seq] = msg
			c.waits[l][seq] = seq > 20
		}
	}
	for _, l := range wire.Lanes() {
		if err := spooltest.Ack(s, l, 20); err != nil {
			c.t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		c.t.Fatal(err)
	}
}

const page = 4096

// hurts are the ways in which a file is damaged.
var hurts = []struct {
	name string
	hurt func(r *rand.Rand, b []byte) []byte
}{
	{"a bit", func(r *rand.Rand, b []byte) []byte { b[r.IntN(len(b))] ^= 1 << r.IntN(8); return b }},
	{"many bits", func(r *rand.Rand, b []byte) []byte {
		for range 60 {
			b[r.IntN(len(b))] ^= 1 << r.IntN(8)
		}
		return b
	}},
	{"a page header", func(r *rand.Rand, b []byte) []byte {
		at := r.IntN(len(b)/page) * page
		for i := range 16 {
			b[at+i] = byte(r.Uint32())
		}
		return b
	}},
	{"a zeroed page", func(r *rand.Rand, b []byte) []byte {
		at := r.IntN(len(b)/page) * page
		clear(b[at : at+page])
		return b
	}},
	{"a page of ones", func(r *rand.Rand, b []byte) []byte {
		at := r.IntN(len(b)/page) * page
		for i := range page {
			b[at+i] = 0xff
		}
		return b
	}},
	{"two pages changed about", func(r *rand.Rand, b []byte) []byte {
		i, j := r.IntN(len(b)/page)*page, r.IntN(len(b)/page)*page
		one := bytes.Clone(b[i : i+page])
		copy(b[i:i+page], b[j:j+page])
		copy(b[j:j+page], one)
		return b
	}},
	{"cut short", func(r *rand.Rand, b []byte) []byte { return b[:r.IntN(len(b))] }},
	{"both metas", func(r *rand.Rand, b []byte) []byte { clear(b[:2*page]); return b }},
	{"both metas of noise", func(r *rand.Rand, b []byte) []byte {
		for i := range 2 * page {
			b[i] = byte(r.Uint32())
		}
		return b
	}},
}

// image damages a copy of the clean spool, has the program start on it, and
// judges. It returns how many events were salvaged, and whether the file was set
// aside at all.
func (c *card) image(r *rand.Rand, n int, v *torture.Verdict) (salvaged int, damaged bool) {
	t := c.t
	for _, name := range c.files() {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(c.clean)
	if err != nil {
		t.Fatal(err)
	}
	home, err := os.ReadFile(c.clean + ".alarms")
	if err != nil {
		t.Fatal(err)
	}
	h := hurts[n%len(hurts)]
	b = h.hurt(r, b)
	what := fmt.Sprintf("image %d (%s)", n, h.name)
	if r.IntN(4) == 0 { // the card has eaten of both
		home = hurts[r.IntN(3)].hurt(r, home)
		what += " and the second home"
	}
	for name, content := range map[string][]byte{c.path(): b, c.path() + ".alarms": home} {
		if err := os.WriteFile(name, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.boot(); err != nil {
		v.Wrong = append(v.Wrong, fmt.Sprintf("%s: %v", what, err))
		return 0, true
	}
	_, err = os.Stat(c.path() + ".corrupt-1")
	damaged = err == nil
	return c.judge(what, b, home, damaged, v), damaged
}

func (c *card) files() []string {
	names, err := filepath.Glob(c.path() + "*")
	if err != nil {
		c.t.Fatal(err)
	}
	return names
}

// boot starts the program, waits until it is up, and stops it.
func (c *card) boot() error {
	// A car needs no lines, which this machine has not; its receiver is unplugged.
	centre := hex.EncodeToString(c.key.Public().(ed25519.PublicKey))
	config := filepath.Join(c.dir, "config.yaml")
	text := fmt.Sprintf("device: box-01\nprofile: patrol-car\ngps: {port: %s}\ndata: %s\ncentre: {servers: [mqtt://127.0.0.1:9], key: %s}\n", filepath.Join(c.dir, "no-port"), c.dir, centre)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(c.t.Context(), c.program, "run", "--config", config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	up := make(chan bool, 1)
	var said strings.Builder
	go func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			if strings.Contains(lines.Text(), "uplink down") { // its loop runs, and finds no centre
				select {
				case up <- true:
				default:
				}
			} else if said.Len() < 4000 {
				said.WriteString(lines.Text() + "\n")
			}
		}
		close(up)
	}()
	late := time.NewTimer(bootTime)
	defer late.Stop()
	select {
	case ok := <-up:
		if !ok {
			return fmt.Errorf("it ended: %v\n%s", cmd.Wait(), said.String())
		}
	case <-late.C:
		_ = cmd.Process.Kill()
		return fmt.Errorf("not up after %v: %v", bootTime, cmd.Wait())
	}
	time.Sleep(20 * time.Millisecond) // its first events
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	for range up { // until its output ends
	}
	return cmd.Wait()
}

// judge compares what the device holds now with what its files still held.
func (c *card) judge(what string, file, home []byte, damaged bool, v *torture.Verdict) (salvaged int) {
	s, err := spool.Open(c.path(), spool.Options{})
	if err != nil {
		v.Wrong = append(v.Wrong, fmt.Sprintf("%s: cannot be opened after a start: %v", what, err))
		return 0
	}
	defer s.Close()
	held := make(map[wire.Lane]map[uint64]bool)
	told, fault := false, false
	for _, p := range s.Parts() {
		for _, l := range wire.Lanes() {
			if held[l] == nil {
				held[l] = make(map[uint64]bool)
			}
			recs, err := p.Read(l, 0, math.MaxInt, math.MaxInt)
			if err != nil {
				v.Wrong = append(v.Wrong, fmt.Sprintf("%s: %v", what, err))
				return 0
			}
			for _, rec := range recs {
				e, err := wire.Open(rec.Data, c.key.Public().(ed25519.PublicKey))
				if err != nil {
					v.Wrong = append(v.Wrong, fmt.Sprintf("%s: %v %d is nothing that was sealed: %v", what, l, rec.Seq, err))
					continue
				}
				if made := c.made[l][rec.Seq]; p.Stream() == c.stream && made != nil {
					if !bytes.Equal(made, rec.Data) {
						v.Wrong = append(v.Wrong, fmt.Sprintf("%s: %v %d is not what was stored", what, l, rec.Seq))
					}
					held[l][rec.Seq] = true
				}
				switch b := e.Body.(type) {
				case *wire.StreamStarted:
					told = told || b.Why == wire.StartDamaged && p.Stream() == s.Stream()
				case *wire.Fault:
					fault = fault || b.Code == "storage_damaged" && b.Active
				}
			}
		}
	}
	if damaged && (!told || !fault) {
		v.Wrong = append(v.Wrong, fmt.Sprintf("%s: told %v, fault %v: want both", what, told, fault))
	}
	for _, l := range wire.Lanes() {
		for seq, waits := range c.waits[l] {
			if held[l][seq] {
				salvaged++
				continue
			}
			msg := c.made[l][seq]
			if waits && (bytes.Contains(file, c.record(l, seq, msg)) || l == wire.Alarm && entire(home, msg)) {
				v.Lost = append(v.Lost, fmt.Sprintf("%s: %v %d could still be read", what, l, seq))
			}
		}
	}
	return salvaged
}

// record is how an event stands in the file: number, CRC32C over the lane's
// bucket, the number and the message, and the message.
func (c *card) record(l wire.Lane, seq uint64, msg []byte) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	k := binary.BigEndian.AppendUint64(nil, seq)
	sum := crc32.Checksum(fmt.Appendf(nil, "lane/%v/%v", c.stream, l), table)
	sum = crc32.Update(crc32.Update(sum, table, k), table, msg)
	return append(binary.BigEndian.AppendUint32(k, sum), msg...)
}

// entire reports whether the log of the second home is whole up to a message.
func entire(home, msg []byte) bool {
	at := bytes.Index(home, msg)
	if at < 0 {
		return false
	}
	table := crc32.MakeTable(crc32.Castagnoli)
	for b := home; len(b) >= 16 && string(b[:4]) == "FSH1"; {
		n := int(binary.BigEndian.Uint32(b[8:]))
		if n > len(b)-16 || crc32.Update(crc32.Checksum(b[4:12], table), table, b[16:16+n]) != binary.BigEndian.Uint32(b[12:]) {
			return false
		}
		if at < len(home)-len(b)+16+n {
			return true
		}
		b = b[16+n:]
	}
	return false
}
