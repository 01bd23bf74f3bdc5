// Command cloud-bridge is the centre. Its commands are in package bridge.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/fengsui/fengsui/cloud-bridge/bridge"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(bridge.Run(ctx, version, os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
