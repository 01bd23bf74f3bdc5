package console

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/roster"
	"github.com/fengsui/fengsui/cloud-bridge/stats"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

func formatID(id int64) string { return strconv.FormatInt(id, 10) }

// Roster is the plan as it was loaded.
type Roster struct {
	Rev  int64  `json:"rev"`
	At   Time   `json:"at"`
	By   string `json:"by"`
	Text string `json:"text"`
}

func (c *Console) getRoster(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	_, d, err := c.options.Store.Roster(r.Context())
	if err != nil {
		return nil, err
	}
	if d == nil {
		return Roster{}, nil
	}
	return Roster{d.Rev, Time{d.At}, d.By, string(d.Body)}, nil
}

func (c *Console) putRoster(r *http.Request, w http.ResponseWriter) (any, error) {
	by, err := c.byOf(r)
	if err != nil {
		return nil, err
	}
	body, err := readBody(w, r, maxDocument, "application/yaml", "application/json")
	if err != nil {
		return nil, err
	}
	plan, err := c.options.Store.LoadRoster(r.Context(), by, body)
	if err != nil {
		return nil, err
	}
	return struct {
		People int `json:"people"`
		Shifts int `json:"shifts"`
		Rounds int `json:"rounds"`
	}{len(plan.People), len(plan.Shifts), len(plan.Rounds)}, nil
}

// Duty is a shift, and whether who has it is signed on anywhere.
type Duty struct {
	Who      string `json:"who"`
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Unit     string `json:"unit"`
	Area     string `json:"area"`
	From     Time   `json:"from"`
	To       Time   `json:"to"`
	SignedOn string `json:"signed_on"`
}

// period reads from and to; absent they are the day around now.
func period(r *http.Request, back, ahead time.Duration, most time.Duration, known ...string) (from, to time.Time, values map[string][]string, err error) {
	v, err := query(r, append([]string{"from", "to"}, known...)...)
	if err != nil {
		return from, to, nil, err
	}
	now := time.Now()
	if from, err = moment(v, "from", now.Add(-back)); err != nil {
		return from, to, nil, err
	}
	if to, err = moment(v, "to", now.Add(ahead)); err != nil {
		return from, to, nil, err
	}
	if !from.Before(to) || to.Sub(from) > most {
		return from, to, nil, badField("from", from.UTC().Format(time.RFC3339), fmt.Sprintf("a time before to, by at most %d days", int(most.Hours()/24)))
	}
	return from, to, v, nil
}

const day = 24 * time.Hour

func (c *Console) listDuty(r *http.Request, _ http.ResponseWriter) (any, error) {
	from, to, _, err := period(r, 0, time.Second, 31*day)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Duty []Duty `json:"duty"`
	}{[]Duty{}}
	plan, _, err := c.options.Store.Roster(r.Context())
	if err != nil || plan == nil {
		return answer, err
	}
	devices, err := c.options.Store.Summary(r.Context())
	if err != nil {
		return nil, err
	}
	on := make(map[string]string)
	for _, d := range devices {
		if d.Officer != "" {
			on[d.Officer] = d.ID
		}
	}
	for _, d := range plan.Duties(from, to) {
		v := Duty{Who: d.Who, Unit: d.Unit, Area: d.Area, From: Time{d.From}, To: Time{d.To}, SignedOn: on[d.Who]}
		if p := plan.Person(d.Who); p != nil {
			v.Name, v.Kind = p.Name, p.Kind
		}
		answer.Duty = append(answer.Duty, v)
	}
	return answer, nil
}

// Visit is a point of a guard round, and what became of it.
type Visit struct {
	Round string   `json:"round"`
	Name  string   `json:"name"`
	Who   []string `json:"who"`
	Point string   `json:"point"`
	Due   Time     `json:"due"`
	Until Time     `json:"until"`
	State string   `json:"state"`
	At    Time     `json:"at"`
	By    string   `json:"by"`
}

func (c *Console) listRounds(r *http.Request, _ http.ResponseWriter) (any, error) {
	from, to, _, err := period(r, day, 12*time.Hour, 92*day)
	if err != nil {
		return nil, err
	}
	judged, err := c.options.Store.Rounds(r.Context(), from, to)
	if err == nil {
		judged, err = only(r.Context(), c, judged, func(j *roster.Judgement) (string, *store.Point) { return j.Point, nil })
	}
	if err != nil {
		return nil, err
	}
	answer := struct {
		Visits []Visit `json:"visits"`
	}{make([]Visit, 0, len(judged))}
	for _, j := range judged {
		answer.Visits = append(answer.Visits, Visit{j.Round, j.Name, append([]string{}, j.Who...), j.Point, Time{j.Due}, Time{j.Until}, j.State, Time{j.At}, j.By})
	}
	return answer, nil
}

// Targets are the limits of a priority, in seconds; 0 is none.
type Targets struct {
	Priority     int     `json:"priority"`
	AcknowledgeS float64 `json:"acknowledge_s"`
	DispatchS    float64 `json:"dispatch_s"`
	ArriveS      float64 `json:"arrive_s"`
}

func (c *Console) getPolicy(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	answer := struct {
		Targets   []Targets `json:"targets"`
		FixLimitS float64   `json:"fix_limit_s"`
	}{[]Targets{}, c.options.FixLimit.Seconds()}
	for n, t := range c.options.Policy {
		answer.Targets = append(answer.Targets, Targets{n, t.Acknowledge.Seconds(), t.Dispatch.Seconds(), t.Arrive.Seconds()})
	}
	slices.SortFunc(answer.Targets, func(a, b Targets) int { return a.Priority - b.Priority })
	return answer, nil
}

// DelaySum sums up one kind of delay.
type DelaySum struct {
	Count   int      `json:"count"`
	Never   int      `json:"never"`
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
	ctx := r.Context()
	list, err := c.options.Store.Incidents(ctx, store.Filter{Since: from, Until: to})
	if err != nil {
		return nil, err
	}
	g, _, err := c.options.Store.Grid(ctx)
	if err != nil {
		return nil, err
	}
	type key struct {
		from int64
		area string
	}
	parts := make(map[key][]stats.Row)
	for i := range list {
		row, counts := stats.RowOf(&list[i])
		if !counts {
			continue
		}
		area := map[incident.Tier]string{incident.Village: row.Area.Village, incident.Township: row.Area.Township, incident.District: row.Area.District}[incident.Tier(tier)]
		begin := begins(list[i].Received, per, zone)
		if begin.Before(from) {
			begin = from
		}
		parts[key{begin.UnixMilli(), area}] = append(parts[key{begin.UnixMilli(), area}], row)
	}
	s := &Statistics{From: Time{from}, To: Time{to}, Per: per, Tier: tier, Rows: []StatRow{}, Devices: []DeviceStat{}, Rounds: []RoundStat{}}
	for k, rows := range parts {
		begin := time.UnixMilli(k.from).UTC()
		end := ends(begin, per, zone)
		if end.IsZero() || end.After(to) {
			end = to
		}
		name, level := "", ""
		if f := g.Feature(k.area); f != nil {
			name, level = f.Name, string(f.Level)
		}
		for _, sum := range stats.Sum(rows, c.options.Policy) {
			if sum.Count > 0 {
				s.Rows = append(s.Rows, viewSum(&sum, begin, end, k.area, name, level))
			}
		}
	}
	slices.SortFunc(s.Rows, func(a, b StatRow) int {
		if d := a.From.Compare(b.From.Time); d != 0 {
			return d
		}
		return strings.Compare(a.Area+"\n"+classOrder(a.Class), b.Area+"\n"+classOrder(b.Class))
	})
	return s, c.reliability(r, s, from, to)
}

func classOrder(class string) string {
	return strconv.Itoa(slices.Index(stats.Classes(), stats.Class(class)))
}

// reliability adds the devices and the rounds.
func (c *Console) reliability(r *http.Request, s *Statistics, from, to time.Time) error {
	outages, err := c.options.Store.Outages(r.Context(), from, to)
	if err != nil {
		return err
	}
	for id, list := range outages {
		d := DeviceStat{Device: id}
		if part, ok := stats.Availability(list, from, to, time.Now()); ok {
			d.Available = &part
		}
		s.Devices = append(s.Devices, d)
	}
	slices.SortFunc(s.Devices, func(a, b DeviceStat) int { return strings.Compare(a.Device, b.Device) })
	judged, err := c.options.Store.Rounds(r.Context(), from, to)
	if err != nil {
		return err
	}
	at := make(map[string]int)
	for _, j := range judged {
		n, there := at[j.Round]
		if !there {
			n = len(s.Rounds)
			at[j.Round] = n
			s.Rounds = append(s.Rounds, RoundStat{Round: j.Round, Name: j.Name})
		}
		switch j.State {
		case roster.Kept:
			s.Rounds[n].Kept++
		case roster.Late:
			s.Rounds[n].Late++
		case roster.Missed:
			s.Rounds[n].Missed++
		}
	}
	return nil
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

func viewSum(g *stats.Group, from, to time.Time, area, name, level string) StatRow {
	v := StatRow{
		From: Time{from}, To: Time{to}, Area: area, Name: name, Level: level, Class: string(g.Class),
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
	v := DelaySum{Count: d.Count, Never: d.Never, TargetS: d.Target.Seconds(), Judged: d.Judged, Within: d.Within}
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
		p, ok := problemOf(err)
		if !ok {
			c.internal(w, r, err)
			return
		}
		writeProblem(w, p)
		return
	}
	var b bytes.Buffer
	b.WriteString("\uFEFF") // spreadsheets take UTF-8 for what it is with a byte order mark
	out := csv.NewWriter(&b)
	line := func(fields ...any) {
		text := make([]string, len(fields))
		for i, f := range fields {
			text[i] = cell(f)
		}
		_ = out.Write(text) // to memory
	}
	head := []any{"what", "from", "to", "area", "name", "class", "count", "open", "duplicates"}
	for _, code := range append(incident.Codes(), incident.Cancelled) {
		head = append(head, string(code))
	}
	head = append(head, "false_rate", "false_of")
	for _, d := range []string{"acknowledge", "dispatch", "arrive"} {
		for _, f := range []string{"count", "never", "p50_s", "p90_s", "target_s", "judged", "within"} {
			head = append(head, d+"_"+f)
		}
	}
	line(head...)
	for i := range s.Rows {
		v := &s.Rows[i]
		row := []any{"incidents", v.From, v.To, v.Area, v.Name, v.Class, v.Count, v.Open, v.Duplicates}
		for _, code := range append(incident.Codes(), incident.Cancelled) {
			row = append(row, v.Codes[string(code)])
		}
		row = append(row, v.FalseRate, v.FalseOf)
		for _, d := range []DelaySum{v.Acknowledge, v.Dispatch, v.Arrive} {
			row = append(row, d.Count, d.Never, d.P50S, d.P90S, d.TargetS, d.Judged, d.Within)
		}
		line(row...)
	}
	line("what", "from", "to", "device", "available")
	for _, d := range s.Devices {
		line("device", s.From, s.To, d.Device, d.Available)
	}
	line("what", "from", "to", "round", "name", "kept", "late", "missed")
	for _, n := range s.Rounds {
		line("round", s.From, s.To, n.Round, n.Name, n.Kept, n.Late, n.Missed)
	}
	out.Flush()
	header := w.Header()
	header.Set("Content-Type", "text/csv; charset=utf-8")
	header.Set("Content-Disposition", `attachment; filename="statistics.csv"`)
	header.Set("Cache-Control", "no-store")
	_, _ = w.Write(b.Bytes()) // The reader may have gone; there is nobody to tell.
}

// formulaSigns begin a formula in one spreadsheet or another: = + - @, full-width, small and
// mathematical ones among them.
const formulaSigns = "=+-@\uff1d\uff0b\uff0d\uff20\u2212\ufe62\ufe63\ufe66\ufe6b"

// passedOver are characters before a sign that a spreadsheet may not count: white space, what
// cannot be seen, and quotes.
func passedOver(r rune) bool {
	return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == '"'
}

// cell is a value as it stands in the table. A text that a spreadsheet would take for a
// formula gets an apostrophe before it.
func cell(f any) string {
	switch v := f.(type) {
	case string:
		sign := strings.TrimLeftFunc(v, passedOver)
		if first, _ := utf8.DecodeRuneInString(sign); sign != "" && strings.ContainsRune(formulaSigns, first) {
			return "'" + v
		}
		return v
	case Time:
		if v.IsZero() {
			return ""
		}
		return v.UTC().Format(timeLayout)
	case *float64:
		if v == nil {
			return ""
		}
		return strconv.FormatFloat(*v, 'f', -1, 64)
	}
	return fmt.Sprint(f)
}
