//go:build pins

// Package gokrazy pins what images are made of: gokrazy's builder, kernels and
// small programs. It is a module of its own, so that the firmware depends on
// none of it; nothing here is built into anything but package init.
package gokrazy

import (
	_ "github.com/gokrazy/firmware"
	_ "github.com/gokrazy/gokrazy/cmd/dhcp"
	_ "github.com/gokrazy/kernel.amd64"
	_ "github.com/gokrazy/kernel.arm64"
	_ "github.com/gokrazy/kernel.rpi"
	_ "github.com/gokrazy/tools/cmd/gok"
)
