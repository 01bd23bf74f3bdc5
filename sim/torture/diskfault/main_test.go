package diskfault

import (
	"context"
	"os"
	"testing"

	"github.com/fengsui/fengsui/sim"
)

// The test binary is also the centre and the devices.
func TestMain(m *testing.M) {
	if sim.IsChild(os.Args[1:]) {
		os.Exit(sim.Run(context.Background(), "test", os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
