// Command init is the first program of an image: it mounts what gokrazy mounts
// and becomes the firmware's own starter, which is process 1 from then on. It
// starts neither gokrazy's shell nor its web interface.
package main

import (
	"log"
	"os"
	"syscall"

	"github.com/gokrazy/gokrazy"
)

// The places of an image that its builder fills.
const (
	firmware = "/user/fengsui"
	config   = "/etc/fengsui/config.yaml"
)

func main() {
	// When process 1 ends the kernel panics, and starts anew after ten seconds.
	if err := gokrazy.Boot(""); err != nil {
		log.Fatal(err)
	}
	log.Fatal(syscall.Exec(firmware, []string{firmware, "boot", "--config", config}, os.Environ()))
}
