// Command sim is the simulated district. Its commands are in package sim.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/fengsui/fengsui/sim"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(sim.Run(ctx, version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
