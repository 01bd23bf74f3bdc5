package cli

import (
	"bytes"
	"fmt"
	"os"
	"strings"

	"github.com/fengsui/fengsui/boards"
	"github.com/fengsui/fengsui/boards/wiring"
)

// list prints one board a line: its folder, architecture, what it boots from,
// support, profiles and name, with tabs between.
func (c *command) list(args []string) error {
	if _, err := c.parse(c.flags(), args); err != nil {
		return err
	}
	for _, name := range boards.Names() {
		b, err := boards.Load(name)
		if err != nil {
			return err
		}
		arch := b.Arch
		if b.ARM != 0 {
			arch = fmt.Sprintf("%sv%d", arch, b.ARM)
		}
		var from []string
		if b.Boot.Image != nil {
			from = append(from, "image")
		}
		if b.Boot.Package != nil {
			from = append(from, "deb")
		}
		fmt.Fprintf(c.out, "%-17s %-6s %-10s %-10s %s (%s)\n", name, arch, strings.Join(from, ","), b.Support, b.Name, strings.Join(b.Profiles, ", "))
	}
	return nil
}

func (c *command) show(args []string) error {
	fs := c.flags()
	svg := fs.String("svg", "", "")
	rest, err := c.parse(fs, args, "NAME")
	if err != nil {
		return err
	}
	b, err := boards.Load(rest[0])
	if err != nil {
		return err
	}
	p, err := wiring.New(rest[0], b, c.lang)
	if err != nil {
		return err
	}
	if *svg == "" {
		return p.Text(c.out)
	}
	var drawing bytes.Buffer
	if err := p.SVG(&drawing); err != nil {
		return err
	}
	if *svg == "-" {
		_, err := c.out.Write(drawing.Bytes())
		return err
	}
	if err := os.WriteFile(*svg, drawing.Bytes(), 0o644); err != nil {
		return err
	}
	fmt.Fprintln(c.err, c.say.text("built", *svg))
	return nil
}
