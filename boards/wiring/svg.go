package wiring

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/fengsui/fengsui/boards"
)

// Measures of the drawing, in pixels.
const (
	margin  = 20
	pitch   = 24 // of a header's rows
	columnX = 26 // between a header's two columns
	radius  = 10 // of a pin
	labelX  = 92 // beside a column, for what the pins are called
	lane    = 8  // between wires
	boxX    = 236
	rowY    = 17 // of a box's rows
	boxGap  = 9
	top     = 84 // above the headers
	textY   = 18 // of the notes' rows
)

// A side of the drawing is one column of boxes and the lanes between it and the
// headers.
type side struct {
	boxes []*box
	wires []*route
	edge  int // x of the boxes' edge that wires come to
	dir   int // -1: the boxes stand left of the headers
}

type box struct {
	part Part
	y    int
	want int // y of its pins, on average
}

func (b *box) height() int { return rowY*(1+max(1, len(b.part.Wires))) + 8 }

// A route is a wire's way: from its pin along y0 to a lane, there to y1, and to
// the box.
type route struct {
	colour, style string
	pinX          int
	y0, y1, laneX int
}

// SVG draws the wiring.
func (p *Plan) SVG(out io.Writer) error {
	d := &drawing{p: p}
	d.layout()
	d.draw()
	_, err := io.WriteString(out, d.s.String())
	return err
}

type drawing struct {
	p       *Plan
	headers []boards.Header
	s       strings.Builder
	at      map[string]place // of each pin, by its name
	x       []int            // of each header's left column
	left    side
	right   side
	plugs   []Part
	width   int
	bottom  int // below headers and boxes
}

// A place is where a pin is, and the column that it stands in.
type place struct {
	x, y   int
	header int
	right  bool
}

// layout decides where everything stands.
func (d *drawing) layout() {
	d.headers = d.p.Board.Headers
	parts := slices.Clone(d.p.Parts)
	if len(d.headers) == 0 {
		d.virtual(parts)
	}
	d.at = make(map[string]place)
	for h, header := range d.headers {
		for i := range header.Pins {
			d.at[d.name(h, i+1)] = place{y: top + pitch/2 + i/2*pitch, header: h, right: i%2 == 1}
		}
		d.bottom = max(d.bottom, top+(len(header.Pins)+1)/2*pitch)
	}
	d.left.dir, d.right.dir = -1, 1
	for _, part := range parts {
		if len(part.Wires) == 0 {
			d.plugs = append(d.plugs, part)
			continue
		}
		s := &d.left
		if d.isRight(part) {
			s = &d.right
		}
		s.boxes = append(s.boxes, &box{part: part, want: d.mean(part)})
	}
	lanes := func(s *side) (n int) {
		for _, b := range s.boxes {
			n += len(b.part.Wires)
		}
		return (n + 2) * lane
	}
	x := margin
	if len(d.left.boxes) > 0 {
		x += boxX
		d.left.edge = x
		x += lanes(&d.left)
	}
	for range d.headers {
		x += labelX
		d.x = append(d.x, x)
		x += columnX + labelX
	}
	if len(d.right.boxes) > 0 {
		x += lanes(&d.right)
		d.right.edge = x
		x += boxX
	}
	d.width = max(x+margin, 860)
	for name, pl := range d.at {
		pl.x = d.x[pl.header]
		if pl.right {
			pl.x += columnX
		}
		d.at[name] = pl
	}
	for _, s := range []*side{&d.left, &d.right} {
		d.stack(s)
		d.lead(s)
	}
}

// virtual stands in for the header of a board without one: its lines, one below
// the other, in the order of the parts.
func (d *drawing) virtual(parts []Part) {
	var pins []string
	for i, part := range parts {
		if part.Line == "" {
			continue
		}
		l := d.p.Board.Lines[part.Role]
		pins = append(pins, l.Label, "")
		parts[i].Wires = []Wire{{"signal", fmt.Sprint(len(pins) - 1), l.Label}}
	}
	if len(pins) > 0 {
		d.headers = []boards.Header{{Name: cmp.Or(d.p.Board.Lines[parts[0].Role].Chip, d.p.Name), Pins: pins}}
	}
}

func (d *drawing) name(header, n int) string {
	if len(d.headers) == 1 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s.%d", d.headers[header].Name, n)
}

// isRight reports whether a part's box stands right of the headers: with two
// headers that of the second, with one that of even pins.
func (d *drawing) isRight(p Part) bool {
	votes := 0
	for _, w := range p.Wires {
		pl := d.at[w.Pin]
		r := pl.right
		if len(d.headers) > 1 {
			r = pl.header > 0
		}
		weight := 1
		if w.Kind == "signal" || w.Kind == "TX" {
			weight = 3
		}
		if !r {
			weight = -weight
		}
		votes += weight
	}
	return votes > 0
}

func (d *drawing) mean(p Part) int {
	sum := 0
	for _, w := range p.Wires {
		sum += d.at[w.Pin].y
	}
	return sum / len(p.Wires)
}

// stack places a side's boxes one below the other, near their pins.
func (d *drawing) stack(s *side) {
	slices.SortStableFunc(s.boxes, func(a, b *box) int { return cmp.Compare(a.want, b.want) })
	total := 0
	for _, b := range s.boxes {
		total += b.height() + boxGap
	}
	y := max(top-12, (top+d.bottom-total)/2)
	for _, b := range s.boxes {
		b.y = y
		y += b.height() + boxGap
	}
	d.bottom = max(d.bottom, y)
}

// lead finds a lane for each wire of a side, so that few cross: of those that
// go up the upper ones turn first, of those that go down the lower ones.
func (d *drawing) lead(s *side) {
	for _, b := range s.boxes {
		for i, w := range b.part.Wires {
			pl := d.at[w.Pin]
			r := &route{pinX: pl.x, y0: pl.y, y1: b.y + rowY*(i+1) + rowY/2 + 3, colour: b.part.Colour, style: "stroke-width:2.2"}
			near := pl.right == (s.dir > 0) && (len(d.headers) == 1 || (pl.header > 0) == (s.dir > 0))
			if !near {
				r.y0 += pitch / 2 // between two rows, past the nearer column
			}
			switch w.Kind {
			case "ground":
				r.colour, r.style = "#424242", "stroke-width:1.4"
			case "power":
				r.colour, r.style = "#d50000", "stroke-width:1.4;stroke-dasharray:2 3"
			case "RX":
				r.style += ";stroke-dasharray:7 3"
			}
			s.wires = append(s.wires, r)
		}
	}
	up := func(r *route) bool { return r.y1 <= r.y0 }
	slices.SortStableFunc(s.wires, func(a, b *route) int {
		switch {
		case up(a) != up(b):
			if up(a) {
				return -1
			}
			return 1
		case up(a):
			return cmp.Or(cmp.Compare(a.y0, b.y0), cmp.Compare(a.y1, b.y1))
		}
		return cmp.Or(cmp.Compare(b.y0, a.y0), cmp.Compare(b.y1, a.y1))
	})
	n := len(s.wires)
	for i, r := range s.wires {
		r.laneX = s.edge - s.dir*(n-i+1)*lane
	}
}

// draw writes the drawing: wires first, what stands on them later.
func (d *drawing) draw() {
	for h, header := range d.headers {
		fmt.Fprintf(&d.s, `<rect x="%d" y="%d" width="%d" height="%d" rx="6" fill="#37474f"/>`+"\n", d.x[h]-14, top-4, columnX+28, (len(header.Pins)+1)/2*pitch+8)
	}
	for _, s := range []*side{&d.left, &d.right} {
		for _, r := range s.wires {
			fmt.Fprintf(&d.s, `<path d="M%d %dV%dH%dV%dH%d" style="fill:none;stroke:%s;%s"/>`+"\n", r.pinX, d.pinY(r.y0), r.y0, r.laneX, r.y1, s.edge, r.colour, r.style)
		}
	}
	for h, header := range d.headers {
		d.header(h, header)
	}
	for _, s := range []*side{&d.left, &d.right} {
		for _, b := range s.boxes {
			d.box(s, b)
		}
	}
	y := d.plugBoxes(d.bottom + 16)
	y = d.notes(y + 10)
	wires := d.s.String()
	d.s.Reset()
	fmt.Fprintf(&d.s, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" lang="%s" font-family="Noto Sans, WenQuanYi Zen Hei, Microsoft YaHei, sans-serif" font-size="12" fill="#212121">`+"\n", d.width, y, d.width, y, d.p.lang)
	title := fmt.Sprintf(d.p.word("wiring-of"), d.p.Board.Name)
	fmt.Fprintf(&d.s, "<title>%s</title>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n", escape(title))
	d.text(margin, 30, `font-size="19" font-weight="bold"`, title)
	var sub []string
	for _, name := range d.p.Board.Profiles {
		sub = append(sub, d.p.word(name))
	}
	line := d.p.Name + " · " + strings.Join(sub, ", ")
	if l := d.p.Board.Limits; l != nil {
		line += " · " + fmt.Sprintf(d.p.word("limits-text"), l.PinMA, l.TotalMA, l.Volts)
	}
	d.text(margin, 52, `fill="#616161"`, line)
	d.s.WriteString(wires)
	d.s.WriteString("</svg>\n")
}

// pinY returns the pin's y of a wire that may run between two rows.
func (d *drawing) pinY(y0 int) int {
	if (y0-top-pitch/2)%pitch != 0 {
		return y0 - pitch/2
	}
	return y0
}

func (d *drawing) header(h int, header boards.Header) {
	d.text(d.x[h]+columnX/2, top-12, `text-anchor="middle" font-weight="bold"`, header.Name)
	virtual := len(d.p.Board.Headers) == 0
	for i, label := range header.Pins {
		if virtual && label == "" {
			continue
		}
		pl := d.at[d.name(h, i+1)]
		fill, ink := "#eceff1", "#212121"
		switch {
		case label == "GND" || label == "GNDA_ADC":
			fill, ink = "#212121", "#fff"
		case label == "3V3":
			fill = "#ffb74d"
		case label == "5V" || label == "SYS_5V":
			fill, ink = "#d32f2f", "#fff"
		}
		fmt.Fprintf(&d.s, `<circle cx="%d" cy="%d" r="%d" fill="%s" stroke="#90a4ae"/>`+"\n", pl.x, pl.y, radius, fill)
		if !virtual {
			d.text(pl.x, pl.y+4, fmt.Sprintf(`text-anchor="middle" font-size="10.5" fill="%s"`, ink), fmt.Sprint(i+1))
		}
		anchor, x := "end", pl.x-18
		if pl.right {
			anchor, x = "start", pl.x+18
		}
		w := columns(label)*7 + 6
		rx := x - w + 3
		if pl.right {
			rx = x - 3
		}
		fmt.Fprintf(&d.s, `<rect x="%d" y="%d" width="%d" height="15" rx="3" fill="#fff"/>`+"\n", rx, pl.y-8, w)
		d.text(x, pl.y+4, fmt.Sprintf(`text-anchor="%s" font-size="11" font-family="DejaVu Sans Mono, monospace"`, anchor), label)
	}
}

func (d *drawing) box(s *side, b *box) {
	x := s.edge
	if s.dir < 0 {
		x -= boxX
	}
	fmt.Fprintf(&d.s, `<rect x="%d" y="%d" width="%d" height="%d" rx="5" fill="#fafafa" stroke="%s" stroke-width="1.6"/>`+"\n", x, b.y, boxX, b.height(), b.part.Colour)
	d.title(x+10, b.y, b.part)
	for i, w := range b.part.Wires {
		y := b.y + rowY*(i+1) + rowY/2 + 3
		fmt.Fprintf(&d.s, `<circle cx="%d" cy="%d" r="3.5" fill="%s"/>`+"\n", s.edge, y, b.part.Colour)
		text := d.p.wire(w) + " · " + w.At
		if len(d.p.Board.Headers) > 0 {
			text = d.p.wire(w) + " · " + strings.ToLower(d.p.word("pin")) + " " + w.Pin + " " + w.At
		}
		d.text(x+16, y+4, `font-size="11.5"`, text)
	}
	if b.part.Port != "" {
		d.text(x+boxX-8, b.y+rowY, `text-anchor="end" font-size="10" fill="#616161" font-family="DejaVu Sans Mono, monospace"`, b.part.Port)
	}
}

// title writes a part's name and the numbers of its notes.
func (d *drawing) title(x, y int, p Part) {
	notes := ""
	if len(p.Notes) > 0 {
		notes = fmt.Sprintf(`<tspan dx="4" font-size="10" font-weight="normal" fill="#616161">[%s]</tspan>`, numbers(p.Notes))
	}
	fmt.Fprintf(&d.s, `<text x="%d" y="%d" font-weight="bold" fill="%s">%s%s</text>`+"\n", x, y+rowY, p.Colour, escape(p.Title), notes)
}

// plugBoxes draws what hangs on plugs, side by side, and returns the y below.
func (d *drawing) plugBoxes(y int) int {
	if len(d.plugs) == 0 {
		return y
	}
	d.text(margin, y+12, `font-weight="bold"`, d.p.word("plugs"))
	y += 22
	for i, part := range d.plugs {
		x := margin + i*(boxX+20)
		fmt.Fprintf(&d.s, `<rect x="%d" y="%d" width="%d" height="44" rx="5" fill="#fafafa" stroke="%s" stroke-width="1.6" stroke-dasharray="6 3"/>`+"\n", x, y, boxX, part.Colour)
		d.title(x+10, y, part)
		d.text(x+10, y+rowY*2+2, `font-size="11" font-family="DejaVu Sans Mono, monospace"`, part.Port)
	}
	return y + 44
}

// notes writes the notes, and returns the y below.
func (d *drawing) notes(y int) int {
	var enabled []string
	for _, part := range d.p.Parts {
		if part.Enable != "" {
			enabled = append(enabled, part.Port+" "+d.p.word("enable")+" "+part.Enable)
		}
	}
	write := func(lead, text string) {
		for i, row := range wrap(text, (d.width-2*margin-26)*10/68) {
			if i > 0 {
				lead = ""
			}
			y += textY
			if lead != "" {
				d.text(margin, y, `fill="#616161"`, lead)
			}
			d.text(margin+26, y, "", row)
		}
	}
	for i, n := range d.p.Notes {
		write(fmt.Sprintf("[%d]", i+1), n)
	}
	for _, e := range enabled {
		write("•", e)
	}
	return y + margin
}

func (d *drawing) text(x, y int, style, s string) {
	fmt.Fprintf(&d.s, `<text x="%d" y="%d" %s>%s</text>`+"\n", x, y, style, escape(s))
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}
