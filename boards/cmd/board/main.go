// Command board shows boards and their wiring, builds images and packages, and
// writes cards; package boards/cli is all of it.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/fengsui/fengsui/boards/cli"
)

var version = "0-unknown" // set by the linker

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, version, os.Args[1:], os.Getenv, os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
