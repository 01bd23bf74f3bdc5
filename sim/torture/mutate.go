package torture

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A Mutation takes one protection out of the shipping source.
type Mutation struct {
	Name  string
	Does  string
	Edits []Edit
}

// An Edit replaces a text that must stand in the file exactly once.
type Edit struct{ File, Old, New string }

// Mutations lists all that negative controls may use.
func Mutations() []Mutation {
	return []Mutation{
		{
			"fsync-off", "the spool's commits are not synced to the disk",
			[]Edit{
				{"firmware/spool/file.go", "db, err = bolt.Open(path, 0o600, &opt)", "opt.NoSync = true; db, err = bolt.Open(path, 0o600, &opt)"},
				{"firmware/spool/home.go", "err = h.f.Sync()", "err = nil"},
			},
		},
		{
			"second-home-off", "alarms are kept in one file only",
			[]Edit{{"firmware/spool/spool.go", "s.home = openHome(path+homeSuffix, s.log)", "s.home = nil"}},
		},
		{
			"crc-off", "the spool believes every value that it reads",
			[]Edit{{"firmware/spool/record.go", "if len(v) < 4 || binary.BigEndian.Uint32(v) != checksum(bucket, key, v[4:]) {", "if len(v) < 4 {"}},
		},
		{
			"commit-error-ignored", "the spool takes a failed commit for a good one, and keeps alarms in one file only",
			[]Edit{
				{"firmware/spool/spool.go", "s.home = openHome(path+homeSuffix, s.log)", "s.home = nil"},
				{"firmware/spool/append.go", "		return err\n	})\n	if err != nil {\n		return err\n	}\n	s.mu.Lock()\n	for i, e := range c.entries {", "		return err\n	})\n	s.mu.Lock()\n	for i, e := range c.entries {"},
				{"firmware/spool/append.go", "	s.keepReserve()\n	return nil\n}\n\n// done notes", "	if err == nil {\n		s.keepReserve()\n	}\n	return nil\n}\n\n// done notes"},
			},
		},
		{
			"unique-index-off", "the centre stores whatever comes, again and again",
			[]Edit{
				{"cloud-bridge/store/migrations/00001_first.sql", "  message     BLOB NOT NULL, -- what the device signed\n  UNIQUE (device, stream, lane, seq)\n", "  message     BLOB NOT NULL\n"},
				{"cloud-bridge/store/commit.go", "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (device, stream, lane, seq) DO NOTHING`", "VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)`"},
			},
		},
		{
			"ack-before-commit", "the centre acknowledges events before they are in its database",
			[]Edit{{"cloud-bridge/ingest/commit.go", "	start := time.Now()\n	done, err := i.o.Store.Commit(ctx, b)\n", `	start := time.Now()
	for _, a := range b.Arrivals {
		e := a.Event
		ack := wire.Ack{Stream: e.Stream, UpTo: map[wire.Lane]uint64{e.Lane: e.Seq}, Hash: map[wire.Lane]wire.Hash{e.Lane: wire.HashOf(a.Message)}}
		i.down.send([]store.DeviceAck{{Device: e.Device, Ack: ack}}, nil)
	}
	time.Sleep(150 * time.Millisecond) // a disk that takes its time
	done, err := i.o.Store.Commit(ctx, b)
`}},
		},
		{
			"lane-order-off", "the centre acknowledges up to the highest number of a lane, holes or not",
			[]Edit{{"cloud-bridge/store/lanes.go", "	was := l.upTo\n", "	was := l.upTo\n	l.upTo = max(l.upTo, l.highest)\n"}},
		},
		{
			"length-off", "the fingerprint sensor's word for the length of a packet is believed",
			[]Edit{{"firmware/fingerprint/internal/zfm/zfm.go", "if length < sumLen || length > limit+sumLen {", "if length < 0 {"}},
		},
		{
			"clock-follows", "the device's clock goes wherever a source of it jumps",
			[]Edit{{"firmware/clock/source.go", "	if !s.known || s.held.agrees(&e, now) {\n		if !s.known ||", "	if true {\n		if true || !s.known ||"}},
		},
		{
			"correction-off", "the centre takes the device's word for the time of day",
			[]Edit{{"cloud-bridge/store/clues.go", "	best, ok := cs.best(ms)\n	future := ", "	best, ok := cs.best(ms)\n	if ms >= 0 {\n		return m\n	}\n	future := "}},
		},
	}
}

// Mutant returns the name of the mutation that this process runs with, or "".
func Mutant() string { return os.Getenv(envMutant) }

// Mutate is a negative control: it runs the test of the given name in the
// folder of the caller again, built with a mutation, and fails unless the rig
// gives the mutant a guilty verdict. The rig's own children have the mutation
// too when they are that test binary or come from [Build].
func Mutate(t *testing.T, mutation, rig string) {
	t.Helper()
	if Mutant() != "" {
		t.Skip("in a mutant: the control does not control itself")
	}
	args := []string{"test", "-count=1", "-run", "^" + rig + "$", "-v", "-timeout", "10m", "-overlay", overlay(t, mutation), "."}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Env = append(os.Environ(), envMutant+"="+mutation)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err == nil:
		t.Errorf("%s passes with %s: it proves nothing\n%s", rig, mutation, tail(out))
	case !errors.As(err, &exit):
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	case !strings.Contains(string(out), guilty):
		t.Errorf("%s with %s fails, but not by its verdict:\n%s", rig, mutation, tail(out))
	default:
		_, line, _ := strings.Cut(string(out), guilty)
		line, _, _ = strings.Cut(line, "\n")
		t.Logf("%s is caught:%s", mutation, line)
	}
}

// Build builds a command of this module as it ships, or with a mutation, and
// returns the binary's path. In a mutant, "" stands for that mutation.
func Build(t testing.TB, pkg, mutation string) string {
	t.Helper()
	return build(t, pkg, mutation, "build")
}

// BuildTest builds the test binary of a package of this module, in a mutant
// with its mutation, and returns the binary's path.
func BuildTest(t testing.TB, pkg string, flags ...string) string {
	t.Helper()
	return build(t, pkg, "", append([]string{"test", "-c"}, flags...)...)
}

func build(t testing.TB, pkg, mutation string, args ...string) string {
	t.Helper()
	if mutation == "" {
		mutation = Mutant()
	}
	bin := filepath.Join(t.TempDir(), filepath.Base(pkg))
	args = append(args, "-o", bin)
	if mutation != "" {
		args = append(args, "-overlay", overlay(t, mutation))
	}
	cmd := exec.CommandContext(t.Context(), "go", append(args, pkg)...)
	cmd.Dir = root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return bin
}

// overlay writes the files of a mutation and returns the path of the JSON that
// the go command wants with -overlay.
func overlay(t testing.TB, mutation string) string {
	t.Helper()
	all := Mutations()
	i := slices.IndexFunc(all, func(m Mutation) bool { return m.Name == mutation })
	if i < 0 {
		t.Fatalf("mutation %q: want one of torture.Mutations", mutation)
	}
	base, dir := root(t), t.TempDir()
	mutated := make(map[string]string) // by file
	for _, e := range all[i].Edits {
		file := filepath.Join(base, filepath.FromSlash(e.File))
		if mutated[file] == "" {
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			mutated[file] = string(src)
		}
		if n := strings.Count(mutated[file], e.Old); n != 1 {
			t.Fatalf("mutation %s: %q stands %d times in %s: want once", mutation, e.Old, n, e.File)
		}
		mutated[file] = strings.Replace(mutated[file], e.Old, e.New, 1)
	}
	replace := make(map[string]string)
	for file, src := range mutated {
		to := filepath.Join(dir, strconv.Itoa(len(replace))+filepath.Base(file))
		if err := os.WriteFile(to, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[file] = to
	}
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(to, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return to
}

func tail(out []byte) string {
	const most = 4000
	if len(out) > most {
		out = out[len(out)-most:]
	}
	return string(out)
}
