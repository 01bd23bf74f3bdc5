package wiring

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/text/width"
)

// Text writes the wiring for a terminal of 100 columns.
func (p *Plan) Text(out io.Writer) error {
	var s strings.Builder
	b := p.Board
	fmt.Fprintf(&s, "%s (%s)\n\n", b.Name, p.Name)
	fact := func(key, value string) { fmt.Fprintf(&s, "%s %s\n", pad(p.word(key)+":", 14), value) }
	arch := b.Arch
	if b.ARM != 0 {
		arch = fmt.Sprintf("%sv%d", arch, b.ARM)
	}
	fact("architecture", arch)
	fact("support", p.word(strings.ReplaceAll(b.Support, " ", "-")))
	var profiles []string
	for _, name := range b.Profiles {
		profiles = append(profiles, p.word(name))
	}
	fact("profiles", strings.Join(profiles, ", "))
	fact("boots", p.boots())
	if w := b.Watchdog; w != nil {
		fact("watchdog", w.Device+" ("+w.Driver+")")
	}
	if r := b.Radio; r != nil {
		fact("radio", strings.Join(r.Firmware, ", ")+" ("+r.Machine+")")
	}
	if t := b.Temperature; t != nil {
		fact("temperature", t.Path+" ("+t.Zone+")")
	}
	if l := b.Limits; l != nil {
		fact("limits", fmt.Sprintf(p.word("limits-text"), l.PinMA, l.TotalMA, l.Volts))
	}
	p.textLines(&s)
	p.textPorts(&s)
	p.textHeaders(&s)
	if len(p.Notes) > 0 {
		fmt.Fprintf(&s, "\n%s\n", p.word("notes"))
		for i, n := range p.Notes {
			for j, row := range wrap(n, 94) {
				lead := "   "
				if j == 0 {
					lead = pad(fmt.Sprintf("%d", i+1), 3)
				}
				fmt.Fprintf(&s, "%s %s\n", lead, row)
			}
		}
	}
	fmt.Fprintf(&s, "\n%s\n", p.word("sources"))
	for _, key := range slices.Sorted(maps.Keys(b.Sources)) {
		for j, row := range wrap(b.Sources[key], 84) {
			lead := ""
			if j == 0 {
				lead = key
			}
			fmt.Fprintf(&s, "%s %s\n", pad(lead, 13), row)
		}
	}
	_, err := io.WriteString(out, s.String())
	return err
}

func (p *Plan) boots() string {
	var from []string
	if p.Board.Boot.Image != nil {
		from = append(from, p.word("image"))
	}
	if p.Board.Boot.Package != nil {
		from = append(from, p.word("package"))
	}
	if len(from) == 0 {
		return p.word("itself")
	}
	return strings.Join(from, ", ")
}

func (p *Plan) textLines(s *strings.Builder) {
	rows := [][]string{{p.word("part"), p.word("pin"), p.word("ground"), p.word("line"), p.word("active"), p.word("pull"), p.word("notes-of")}}
	for _, part := range p.Parts {
		if part.Line == "" {
			continue
		}
		l := p.Board.Lines[part.Role]
		pull := ""
		if l.Pull != "" {
			pull = p.word(l.Pull)
		}
		line := l.Line
		if l.Label != l.Line {
			line = l.Label + " = " + line
		}
		rows = append(rows, []string{part.Title + " (" + part.Role + ")", l.Pin, l.Ground, line, p.word(l.Active), pull, numbers(part.Notes)})
	}
	table(s, p.word("lines"), rows)
}

func (p *Plan) textPorts(s *strings.Builder) {
	rows := [][]string{{p.word("part"), "TX", "RX", p.word("power"), p.word("ground"), p.word("port"), p.word("notes-of"), p.word("enable")}}
	for _, part := range p.Parts {
		if part.Port == "" {
			continue
		}
		u := p.Board.UARTs[part.Role]
		rows = append(rows, []string{part.Title + " (" + part.Role + ")", u.TX, u.RX, u.Power, u.Ground, u.Port, numbers(part.Notes), u.Enable})
	}
	table(s, p.word("ports"), rows)
}

// textHeaders draws the headers, with what is connected beside each pin.
func (p *Plan) textHeaders(s *strings.Builder) {
	used := p.used()
	for _, h := range p.Board.Headers {
		fmt.Fprintf(s, "\n%s %s\n", p.word("header"), h.Name)
		for i := 0; i < len(h.Pins); i += 2 {
			left, right := used[p.pinName(h.Name, i+1)], used[p.pinName(h.Name, i+2)]
			row := fmt.Sprintf("%s %s %2d|%-2d %s %s", padLeft(left, 40), padLeft(h.Pins[i], 11), i+1, i+2, pad(h.Pins[i+1], 11), right)
			s.WriteString(strings.TrimRight(row, " ") + "\n")
		}
	}
}

// used says which parts are at each pin.
func (p *Plan) used() map[string]string {
	used := make(map[string]string)
	for _, part := range p.Parts {
		for _, w := range part.Wires {
			if w.Pin == "" || w.Kind == "ground" {
				continue
			}
			what := part.Title
			if w.Kind != "signal" {
				what += " " + p.wire(w)
			}
			if used[w.Pin] != "" {
				what = used[w.Pin] + ", " + what
			}
			used[w.Pin] = what
		}
	}
	return used
}

func (p *Plan) pinName(header string, n int) string {
	if len(p.Board.Headers) == 1 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s.%d", header, n)
}

func numbers(n []int) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(n)), ","), "[]")
}

// table writes rows in columns, if there are any behind the first.
func table(s *strings.Builder, title string, rows [][]string) {
	if len(rows) == 1 {
		return
	}
	fmt.Fprintf(s, "\n%s\n", title)
	widths := make([]int, len(rows[0]))
	for _, r := range rows {
		for i, cell := range r {
			widths[i] = max(widths[i], columns(cell))
		}
	}
	for _, r := range rows {
		var line strings.Builder
		for i, cell := range r {
			line.WriteString(pad(cell, widths[i]) + "  ")
		}
		s.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
}

// columns counts the columns of a text on a terminal: Chinese characters take
// two.
func columns(s string) (n int) {
	for _, r := range s {
		n += columnsOf(r)
	}
	return n
}

func columnsOf(r rune) int {
	switch width.LookupRune(r).Kind() {
	case width.EastAsianWide, width.EastAsianFullwidth:
		return 2
	}
	return 1
}

func pad(s string, n int) string     { return s + strings.Repeat(" ", max(0, n-columns(s))) }
func padLeft(s string, n int) string { return strings.Repeat(" ", max(0, n-columns(s))) + s }

// wrap breaks a text into rows of so many columns: at spaces, and between
// Chinese characters, but not before a mark that ends a phrase.
func wrap(s string, n int) (rows []string) {
	var row, word strings.Builder
	flush := func() {
		if row.Len() > 0 && columns(row.String())+columns(word.String()) > n {
			rows = append(rows, strings.TrimRight(row.String(), " "))
			row.Reset()
		}
		row.WriteString(word.String())
		word.Reset()
	}
	runes := []rune(s)
	for i, r := range runes {
		word.WriteRune(r)
		if i == len(runes)-1 || r == ' ' {
			flush()
			continue
		}
		next := runes[i+1]
		if (columnsOf(r) == 2 || columnsOf(next) == 2) && !strings.ContainsRune("，。；：、） ", next) && r != '（' {
			flush()
		}
	}
	return append(rows, strings.TrimRight(row.String(), " "))
}
