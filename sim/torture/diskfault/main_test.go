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
	if len(os.Args) == 3 && os.Args[1] == storerArg {
		os.Exit(store(os.Args[2], os.Stdout))
	}
	os.Exit(m.Run())
}
