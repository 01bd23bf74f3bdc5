package torture

import (
	"os/exec"
	"testing"
)

// Each mutation still fits the source, and compiles.
func TestMutationsBuild(t *testing.T) {
	for _, m := range Mutations() {
		t.Run(m.Name, func(t *testing.T) {
			cmd := exec.CommandContext(t.Context(), "go", "vet", "-overlay", overlay(t, m.Name), "./firmware/fingerprint/internal/zfm", "./firmware/spool", "./firmware/uplink", "./cloud-bridge/ingest", "./cloud-bridge/store")
			cmd.Dir = root(t)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// A negative control tells a guilty verdict from a clean one and from a crash.
func TestMutateWantsAVerdict(t *testing.T) {
	Mutate(t, "crc-off", "TestRigThatNotices")
}

func TestRigThatNotices(t *testing.T) {
	var v Verdict
	if Mutant() != "" {
		v.Wrong = append(v.Wrong, "the mutation "+Mutant())
	}
	v.Report(t, "a rig of one line")
}
