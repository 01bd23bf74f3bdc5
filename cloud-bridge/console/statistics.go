package console

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/grid"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/roster"
	"github.com/fengsui/fengsui/cloud-bridge/stats"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// DelaySum sums up one kind of delay.
type DelaySum struct {
	Count   int      `json:"count"`
	Never   int      `json:"never"`
	Unsure  int      `json:"unsure"`
	P50S    *float64 `json:"p50_s"`
	P90S    *float64 `json:"p90_s"`
	TargetS float64  `json:"target_s"`
	Judged  int      `json:"judged"`
	Within  int      `json:"within"`
}

// StatRow sums up the incidents of one class, area and period.
type StatRow struct {
	From        Time           `json:"from"`
	To          Time           `json:"to"`
	Area        string         `json:"area"`
	Name        string         `json:"name"`
	Level       string         `json:"level"`
	Class       string         `json:"class"`
	Count       int            `json:"count"`
	Open        int            `json:"open"`
	Duplicates  int            `json:"duplicates"`
	Codes       map[string]int `json:"codes"`
	FalseRate   *float64       `json:"false_rate"`
	FalseOf     int            `json:"false_of"`
	Acknowledge DelaySum       `json:"acknowledge"`
	Dispatch    DelaySum       `json:"dispatch"`
	Arrive      DelaySum       `json:"arrive"`
}

// DeviceStat is which part of the whole period a device could be heard.
type DeviceStat struct {
	Device    string   `json:"device"`
	Available *float64 `json:"available"`
}

// AreaStat is which part of a period the devices of an area could be heard, and what became of
// the visits of guard rounds to its points.
type AreaStat struct {
	From      Time     `json:"from"`
	To        Time     `json:"to"`
	Area      string   `json:"area"`
	Name      string   `json:"name"`
	Level     string   `json:"level"`
	Devices   int      `json:"devices"`
	HeardS    float64  `json:"heard_s"`
	OfS       float64  `json:"of_s"`
	Available *float64 `json:"available"`
	Kept      int      `json:"kept"`
	Late      int      `json:"late"`
	Missed    int      `json:"missed"`

	heard, of time.Duration
}

// RoundStat sums up guard rounds in the whole period.
type RoundStat struct {
	Round  string `json:"round"`
	Name   string `json:"name"`
	Kept   int    `json:"kept"`
	Late   int    `json:"late"`
	Missed int    `json:"missed"`
}

// Statistics is how well the centre does.
type Statistics struct {
	From    Time         `json:"from"`
	To      Time         `json:"to"`
	Per     string       `json:"per"`
	Tier    string       `json:"tier"`
	Rows    []StatRow    `json:"rows"`
	Areas   []AreaStat   `json:"areas"`
	Devices []DeviceStat `json:"devices"`
	Rounds  []RoundStat  `json:"rounds"`
}

func (c *Console) getStats(r *http.Request, _ http.ResponseWriter) (any, error) {
	return c.statistics(r)
}

func (c *Console) statistics(r *http.Request) (*Statistics, error) {
	from, to, values, err := period(r, 30*day, 0, 400*day, "per", "tier", "zone")
	if err != nil {
		return nil, err
	}
	get := func(name, otherwise string) string {
		if v := values[name]; len(v) > 0 {
			return v[0]
		}
		return otherwise
	}
	per, tier := get("per", "all"), get("tier", string(incident.District))
	if !slices.Contains([]string{"all", "day", "week", "month"}, per) {
		return nil, badField("per", per, "all, day, week or month")
	}
	if !slices.Contains(incident.Tiers(), incident.Tier(tier)) {
		return nil, badField("tier", tier, "village, township or district")
	}
	zone, err := time.LoadLocation(get("zone", "UTC"))
	if err != nil || get("zone", "UTC") == "Local" {
		return nil, badField("zone", get("zone", ""), "a time zone such as Asia/Shanghai")
	}
	n := &count{c: c, from: from, to: to, now: time.Now(), per: per, tier: incident.Tier(tier), zone: zone}
	if n.grid, _, err = c.options.Store.Grid(r.Context()); err != nil {
		return nil, err
	}
	s := &Statistics{From: Time{from}, To: Time{to}, Per: per, Tier: tier, Rows: []StatRow{}, Areas: []AreaStat{}, Devices: []DeviceStat{}, Rounds: []RoundStat{}}
	return s, errors.Join(n.incidents(r.Context(), s), n.reliability(r.Context(), s))
}

// count is one counting: of a period, in parts, by the areas of a tier.
type count struct {
	c             *Console
	from, to, now time.Time
	per           string
	tier          incident.Tier
	zone          *time.Location
	grid          *grid.Grid
}

// part is a part of the period in an area of the tier.
type part struct {
	from int64 // Unix milliseconds
	area string
}

// partOf returns the part that a moment of an area lies in.
func (n *count) partOf(at time.Time, a incident.Area) part {
	begin := begins(at, n.per, n.zone)
	if begin.Before(n.from) {
		begin = n.from
	}
	id := a.District
	switch n.tier {
	case incident.Village:
		id = a.Village
	case incident.Township:
		id = a.Township
	}
	return part{begin.UnixMilli(), id}
}

// end is when the part of the period that begins then ends.
func (n *count) end(begin time.Time) time.Time {
	if end := ends(begin, n.per, n.zone); !end.IsZero() && end.Before(n.to) {
		return end
	}
	return n.to
}

// says returns what a row says of its part.
func (n *count) says(p part) (from, to Time, name, level string) {
	begin := time.UnixMilli(p.from).UTC()
	if f := n.grid.Feature(p.area); f != nil {
		name, level = f.Name, string(f.Level)
	}
	return Time{begin}, Time{n.end(begin)}, name, level
}

// incidents adds the rows.
func (n *count) incidents(ctx context.Context, s *Statistics) error {
	list, err := n.c.options.Store.Incidents(ctx, store.Filter{Since: n.from, Until: n.to})
	if err != nil {
		return err
	}
	parts := make(map[part][]stats.Row)
	for i := range list {
		if row, counts := stats.RowOf(&list[i]); counts {
			p := n.partOf(list[i].Received, row.Area)
			parts[p] = append(parts[p], row)
		}
	}
	for p, rows := range parts {
		from, to, name, level := n.says(p)
		for _, sum := range stats.Sum(rows, n.c.options.Policy) {
			if sum.Count > 0 {
				s.Rows = append(s.Rows, viewSum(&sum, from, to, p.area, name, level))
			}
		}
	}
	slices.SortFunc(s.Rows, func(a, b StatRow) int {
		return cmp.Or(a.From.Compare(b.From.Time), strings.Compare(a.Area, b.Area), strings.Compare(classOrder(a.Class), classOrder(b.Class)))
	})
	return nil
}

func classOrder(class string) string {
	return strconv.Itoa(slices.Index(stats.Classes(), stats.Class(class)))
}

// reliability adds the devices and the rounds, of the whole period and of its parts.
func (n *count) reliability(ctx context.Context, s *Statistics) error {
	areas := make(map[part]*AreaStat)
	at := func(p part) *AreaStat {
		if areas[p] == nil {
			areas[p] = &AreaStat{Area: p.area}
			areas[p].From, areas[p].To, areas[p].Name, areas[p].Level = n.says(p)
		}
		return areas[p]
	}
	list, err := n.c.options.Store.Summary(ctx)
	if err != nil {
		return err
	}
	lies := make(map[string]incident.Area, len(list))
	for i := range list {
		lies[list[i].ID] = n.lies(&list[i])
	}
	watches, err := n.c.options.Store.Outages(ctx, n.from, n.to)
	if err != nil {
		return err
	}
	for id, w := range watches {
		d := DeviceStat{Device: id}
		if heard, of := w.Heard(n.from, n.to, n.now); of > 0 {
			d.Available = share(heard, of)
		}
		s.Devices = append(s.Devices, d)
		for from := n.from; from.Before(n.to); from = n.end(from) {
			heard, of := w.Heard(from, n.end(from), n.now)
			if of <= 0 {
				continue
			}
			a := at(n.partOf(from, lies[id]))
			a.Devices++
			a.heard += heard
			a.of += of
		}
	}
	slices.SortFunc(s.Devices, func(a, b DeviceStat) int { return strings.Compare(a.Device, b.Device) })
	judged, err := n.c.options.Store.Rounds(ctx, n.from, n.to)
	if err != nil {
		return err
	}
	for _, j := range judged {
		if j.Until.After(n.now) { // what was kept already does not count before what may still be missed
			continue
		}
		i := slices.IndexFunc(s.Rounds, func(r RoundStat) bool { return r.Round == j.Round })
		if i < 0 {
			i = len(s.Rounds)
			s.Rounds = append(s.Rounds, RoundStat{Round: j.Round, Name: j.Name})
		}
		round, area := &s.Rounds[i], at(n.partOf(j.Until, lies[j.Point]))
		switch j.State {
		case roster.Kept:
			round.Kept++
			area.Kept++
		case roster.Late:
			round.Late++
			area.Late++
		case roster.Missed:
			round.Missed++
			area.Missed++
		}
	}
	slices.SortFunc(s.Rounds, func(a, b RoundStat) int { return strings.Compare(a.Round, b.Round) })
	for _, a := range areas {
		a.HeardS, a.OfS = a.heard.Seconds(), a.of.Seconds()
		if a.of > 0 {
			a.Available = share(a.heard, a.of)
		}
		s.Areas = append(s.Areas, *a)
	}
	slices.SortFunc(s.Areas, func(a, b AreaStat) int { return cmp.Or(a.From.Compare(b.From.Time), strings.Compare(a.Area, b.Area)) })
	return nil
}

func share(heard, of time.Duration) *float64 {
	v := float64(heard) / float64(of)
	return &v
}

// lies returns where a device was surveyed or, without that, was last.
func (n *count) lies(d *store.DeviceSummary) incident.Area {
	switch at := d.At; {
	case at != nil && (d.Kind == store.AlarmBox || d.Fix == nil):
		return n.grid.Locate(at.Lat, at.Lon)
	case d.Fix != nil:
		return n.grid.Locate(d.Fix.Lat, d.Fix.Lon)
	}
	return n.grid.Nowhere()
}

// begins returns when the day, week or month of a time began.
func begins(at time.Time, per string, zone *time.Location) time.Time {
	y, m, d := at.In(zone).Date()
	switch per {
	case "day":
		return time.Date(y, m, d, 0, 0, 0, 0, zone)
	case "week":
		return time.Date(y, m, d-(int(at.In(zone).Weekday())+6)%7, 0, 0, 0, 0, zone)
	case "month":
		return time.Date(y, m, 1, 0, 0, 0, 0, zone)
	}
	return time.Time{}
}

// ends returns when the day, week or month of a time ends; zero when it does not.
func ends(at time.Time, per string, zone *time.Location) time.Time {
	y, m, d := begins(at, per, zone).Date()
	switch per {
	case "day":
		return time.Date(y, m, d+1, 0, 0, 0, 0, zone)
	case "week":
		return time.Date(y, m, d+7, 0, 0, 0, 0, zone)
	case "month":
		return time.Date(y, m+1, 1, 0, 0, 0, 0, zone)
	}
	return time.Time{}
}

func viewSum(g *stats.Group, from, to Time, area, name, level string) StatRow {
	v := StatRow{
		From: from, To: to, Area: area, Name: name, Level: level, Class: string(g.Class),
		Count: g.Count, Open: g.Open, Duplicates: g.Duplicates, Codes: map[string]int{}, FalseOf: g.FalseOf,
		Acknowledge: viewDelay(&g.Acknowledge), Dispatch: viewDelay(&g.Dispatch), Arrive: viewDelay(&g.Arrive),
	}
	for code, n := range g.ByCode {
		v.Codes[string(code)] = n
	}
	if g.FalseOf > 0 {
		v.FalseRate = &g.FalseRate
	}
	return v
}

func viewDelay(d *stats.Delay) DelaySum {
	v := DelaySum{Count: d.Count, Never: d.Never, Unsure: d.Unsure, TargetS: d.Target.Seconds(), Judged: d.Judged, Within: d.Within}
	if d.Count > 0 {
		p50, p90 := d.P50.Seconds(), d.P90.Seconds()
		v.P50S, v.P90S = &p50, &p90
	}
	return v
}

// getStatsCSV is the statistics as a table for spreadsheets: its first column says what a
// line is of.
func (c *Console) getStatsCSV(w http.ResponseWriter, r *http.Request) {
	s, err := c.statistics(r)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	t := newTable()
	head := []any{"what", "from", "to", "area", "name", "level", "class", "count", "open", "duplicates"}
	for _, code := range append(incident.Codes(), incident.Cancelled) {
		head = append(head, string(code))
	}
	head = append(head, "false_rate", "false_of")
	for _, d := range []string{"acknowledge", "dispatch", "arrive"} {
		for _, f := range []string{"count", "never", "unsure", "p50_s", "p90_s", "target_s", "judged", "within"} {
			head = append(head, d+"_"+f)
		}
	}
	t.line(head...)
	for i := range s.Rows {
		v := &s.Rows[i]
		row := []any{"incidents", v.From, v.To, v.Area, v.Name, v.Level, v.Class, v.Count, v.Open, v.Duplicates}
		for _, code := range append(incident.Codes(), incident.Cancelled) {
			row = append(row, v.Codes[string(code)])
		}
		row = append(row, v.FalseRate, v.FalseOf)
		for _, d := range []DelaySum{v.Acknowledge, v.Dispatch, v.Arrive} {
			row = append(row, d.Count, d.Never, d.Unsure, d.P50S, d.P90S, d.TargetS, d.Judged, d.Within)
		}
		t.line(row...)
	}
	t.line("what", "from", "to", "area", "name", "level", "devices", "heard_s", "of_s", "available", "kept", "late", "missed")
	for _, a := range s.Areas {
		t.line("area", a.From, a.To, a.Area, a.Name, a.Level, a.Devices, &a.HeardS, &a.OfS, a.Available, a.Kept, a.Late, a.Missed)
	}
	t.line("what", "from", "to", "device", "available")
	for _, d := range s.Devices {
		t.line("device", s.From, s.To, d.Device, d.Available)
	}
	t.line("what", "from", "to", "round", "name", "kept", "late", "missed")
	for _, n := range s.Rounds {
		t.line("round", s.From, s.To, n.Round, n.Name, n.Kept, n.Late, n.Missed)
	}
	t.send(w, "statistics.csv")
}
