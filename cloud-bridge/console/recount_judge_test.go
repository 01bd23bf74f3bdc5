package console_test

import (
	"bytes"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// The statistics, as the page and the table give them, are what somebody counts who has
// only the rows of the database, SQL and a pencil: nothing here comes from the packages that
// count. Times of incidents are taken from the timeline, which is only ever appended to.
func TestStatisticsAgainstARecount(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	db, file := playHistory(t, seed, 260)
	w := historyDesk(t, db)
	raw, err := sql.Open("sqlite", "file:"+url.PathEscape(file)+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	counted := 0
	for n, period := range [][2]time.Time{
		{began, ended},
		{began.Add(10*time.Hour + 30*time.Minute), ended.Add(-7 * time.Minute)},
		{began.AddDate(0, 0, 30), began.AddDate(0, 0, 37)},
		{began.AddDate(-1, 0, 0), began.AddDate(-1, 0, 9)}, // nothing happened
	} {
		var watched []minute
		for _, per := range []string{"all", "day", "week", "month"} {
			for _, tier := range []string{"district", "township", "village"} {
				if n > 0 && !slices.Contains([]string{"all district", "day village", "week township"}, per+" "+tier) {
					continue
				}
				r := &recount{t: t, raw: raw, from: period[0].UnixMilli(), to: period[1].UnixMilli(), per: per, tier: tier, watched: watched}
				query := "?" + url.Values{"from": {period[0].Format(time.RFC3339)}, "to": {period[1].Format(time.RFC3339)}, "per": {per}, "tier": {tier}, "zone": {"Asia/Shanghai"}}.Encode()
				var page map[string]any
				w.want(200, "GET", "/api/v1/stats"+query, "", &page)
				want := r.count()
				watched = r.watched
				name := fmt.Sprintf("seed %d: %s to %s per %s by %s", seed, period[0], period[1], per, tier)
				compare(t, name, page, want)
				_, table := w.do("GET", "/api/v1/stats.csv"+query, "")
				compareTable(t, name, page, table)
				counted += len(want["rows"])
				if t.Failed() {
					return
				}
			}
		}
	}
	if counted < 200 {
		t.Errorf("only %d rows were compared", counted)
	}
}

// lines are rows by what names them: begin, area, class, device, round.
type lines map[string]map[string]any

type recount struct {
	t         *testing.T
	raw       *sql.DB
	from, to  int64 // Unix milliseconds
	per, tier string
	watched   []minute // once they are counted: they are the same for each per and tier
}

// A minute of a device that is watched.
type minute struct {
	device string
	ms     int64
	heard  bool
}

const dayMs = 24 * 60 * 60 * 1000

// begin is when the part of the period began that a moment lies in. Shanghai is eight hours
// ahead of UTC all the year; the first of January 1970 was a Thursday.
func (r *recount) begin(ms int64) int64 {
	local := ms + 8*60*60*1000
	day := local / dayMs
	switch r.per {
	case "all":
		return r.from
	case "week":
		day -= (day + 3) % 7
	case "month":
		for time.UnixMilli(day*dayMs).UTC().Day() != 1 {
			day--
		}
	}
	return max(day*dayMs-8*60*60*1000, r.from)
}

func (r *recount) rows(query string, args []any, each func(scan func(...any))) {
	r.t.Helper()
	rows, err := r.raw.QueryContext(r.t.Context(), query, args...)
	if err != nil {
		r.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		each(func(into ...any) {
			if err := rows.Scan(into...); err != nil {
				r.t.Fatal(err)
			}
		})
	}
	if rows.Err() != nil {
		r.t.Fatal(rows.Err())
	}
}

func (r *recount) count() map[string]lines {
	return map[string]lines{"rows": r.incidents(), "areas": r.areas(), "devices": r.devices(), "rounds": r.rounds()}
}

// incidents counts them one after the other.
func (r *recount) incidents() lines {
	out := make(lines)
	delays := make(map[string]map[string][]float64)
	type target struct{ priority, ms int64 }
	targets := make(map[string]map[string]target)
	r.rows(`SELECT i.kind, i.drill, i.received_at, i.pressed_at, i.`+r.tier+`,
		(SELECT detail FROM timeline WHERE incident = i.incident AND what = 'closed'),
		(SELECT coalesce(given, at) FROM timeline WHERE incident = i.incident AND what = 'closed'),
		(SELECT min(at) FROM timeline WHERE incident = i.incident AND what = 'acknowledged'),
		(SELECT min(at) FROM timeline WHERE incident = i.incident AND what = 'dispatched'),
		(SELECT min(coalesce(n.given, n.at)) FROM timeline n WHERE n.incident = i.incident AND n.what IN ('on_scene', 'checked')
			AND n.detail NOT LIKE '%(it was taken back before)%'
			AND coalesce(n.given, n.at) <= coalesce((SELECT coalesce(given, at) FROM timeline WHERE incident = i.incident AND what = 'closed'), 1 << 60))
		FROM incidents i WHERE i.received_at >= ? AND i.received_at < ?
		AND i.kind NOT IN ('tamper', 'offline', 'twin', 'district_link_lost')`, []any{r.from, r.to}, func(scan func(...any)) {
		var kind, area string
		var drill bool
		var received int64
		var pressed, closedAt, acknowledged, sent, arrived sql.NullInt64
		var closed sql.NullString
		scan(&kind, &drill, &received, &pressed, &area, &closed, &closedAt, &acknowledged, &sent, &arrived)
		code, _, _ := strings.Cut(closed.String, ":")
		class := "real"
		if drill || code == "drill" {
			class = "drill"
		} else if code == "test" {
			class = "test"
		}
		key := fmt.Sprint(r.begin(received), " ", area, " ", class)
		row := out[key]
		if row == nil {
			row = map[string]any{"count": 0.0, "open": 0.0, "duplicates": 0.0, "codes": map[string]any{}, "wrong": 0.0, "false_of": 0.0}
			for _, d := range []string{"acknowledge", "dispatch", "arrive"} {
				row[d] = map[string]any{"count": 0.0, "never": 0.0, "unsure": 0.0, "p50_s": nil, "p90_s": nil, "target_s": 0.0, "judged": 0.0, "within": 0.0}
			}
			out[key], delays[key], targets[key] = row, make(map[string][]float64), make(map[string]target)
		}
		add := func(m map[string]any, k string) { n, _ := m[k].(float64); m[k] = n + 1 }
		add(row, "count")
		switch code {
		case "":
			add(row, "open")
		case "real":
			add(row, "false_of")
		case "false_alarm", "unfounded":
			add(row, "false_of")
			add(row, "wrong")
		}
		if code != "" {
			add(row["codes"].(map[string]any), code)
		}
		if code == "duplicate" {
			add(row, "duplicates")
			return
		}
		start := received
		if pressed.Valid && pressed.Int64 < received {
			start = pressed.Int64
		}
		priority, limits := int64(1), map[string]int64{"acknowledge": 15_000, "dispatch": 60_000, "arrive": 900_000}
		if kind == "fire" || kind == "medical" {
			priority, limits["arrive"] = 2, 1_200_000
		}
		for d, at := range map[string]sql.NullInt64{"acknowledge": acknowledged, "dispatch": sent, "arrive": arrived} {
			if have, ok := targets[key][d]; !ok || priority < have.priority {
				targets[key][d] = target{priority, limits[d]}
			}
			sum := row[d].(map[string]any)
			if !at.Valid {
				if code != "" {
					add(sum, "never")
				}
				continue
			}
			add(sum, "count")
			add(sum, "judged")
			took := max(at.Int64-start, 0)
			delays[key][d] = append(delays[key][d], float64(took)/1000)
			if took <= limits[d] {
				add(sum, "within")
			}
		}
	})
	for key, row := range out {
		row["false_rate"] = nil
		if of := row["false_of"].(float64); of > 0 {
			row["false_rate"] = row["wrong"].(float64) / of
		}
		delete(row, "wrong")
		for d, target := range targets[key] {
			sum := row[d].(map[string]any)
			sum["target_s"] = float64(target.ms) / 1000
			took := delays[key][d]
			slices.Sort(took)
			for _, p := range []int{50, 90} {
				for rank := 1; rank <= len(took); rank++ { // the first rank that covers p in a hundred
					if rank*100 >= p*len(took) {
						sum[fmt.Sprintf("p%d_s", p)] = took[rank-1]
						break
					}
				}
			}
		}
	}
	return out
}

// areaOf is where a device lies in the newest grid: in a square, or in none.
func (r *recount) areaOf(device string) string {
	var lat, lon sql.NullFloat64
	r.rows(`SELECT coalesce(lat, fix_lat_e6 / 1e6), coalesce(lon, fix_lon_e6 / 1e6) FROM devices WHERE id = ?`, []any{device}, func(scan func(...any)) { scan(&lat, &lon) })
	if r.tier == "district" {
		return "d"
	}
	for _, s := range squares {
		if !lat.Valid || lat.Float64 < s.south || lat.Float64 > s.north || lon.Float64 < s.west || lon.Float64 > s.east {
			continue
		}
		village := s.village
		if s.id == "c-2" {
			village = "v-3"
		}
		if r.tier == "village" {
			return village
		}
		return townshipOf[village]
	}
	return ""
}

type silent struct{ from, to int64 }

// minutes calls f with each minute that a device was watched, and whether it was heard.
func (r *recount) minutes(f func(device string, ms int64, heard bool)) {
	if r.watched == nil {
		r.watch()
	}
	for _, m := range r.watched {
		f(m.device, m.ms, m.heard)
	}
}

func (r *recount) watch() {
	r.watched = make([]minute, 0, 1)
	since := make(map[string]int64)
	r.rows(`SELECT d.id, min(s.heard_at) FROM devices d JOIN streams s ON s.device = d.device GROUP BY d.id`, nil, func(scan func(...any)) {
		var id string
		var at int64
		scan(&id, &at)
		since[id] = at
	})
	for id, first := range since {
		var away []silent
		r.rows(`SELECT from_, coalesce(to_, 1 << 60) FROM outages WHERE device = (SELECT device FROM devices WHERE id = ?)`, []any{id}, func(scan func(...any)) {
			var s silent
			scan(&s.from, &s.to)
			away = append(away, s)
		})
		for ms := max(r.from, first); ms < r.to; ms += 60_000 {
			r.watched = append(r.watched, minute{id, ms, !slices.ContainsFunc(away, func(s silent) bool { return ms >= s.from && ms < s.to })})
		}
	}
}

func (r *recount) devices() lines {
	heard, of := make(map[string]float64), make(map[string]float64)
	r.minutes(func(device string, _ int64, is bool) {
		of[device]++
		if is {
			heard[device]++
		}
	})
	out := make(lines)
	r.rows(`SELECT id FROM devices WHERE heard_at IS NOT NULL`, nil, func(scan func(...any)) {
		var id string
		scan(&id)
		out[id] = map[string]any{"available": nil}
		if of[id] > 0 {
			out[id]["available"] = heard[id] / of[id]
		}
	})
	return out
}

// A visit is one of the plan: what became of it.
func (r *recount) visits(f func(round, point string, until int64, state string)) {
	type passing struct {
		point, officer string
		at             int64
	}
	var all []passing
	r.rows(`SELECT d.id, c.officer, c.at FROM check_ins c JOIN devices d ON d.device = c.device WHERE NOT c.drill`, nil, func(scan func(...any)) {
		var p passing
		scan(&p.point, &p.officer, &p.at)
		all = append(all, p)
	})
	for day := int64(-2); day < 46; day++ {
		midnight := began.UnixMilli() + day*dayMs
		for _, round := range []struct {
			id     string
			at     int64 // minutes
			points []string
			who    []string
		}{{"evening", 20 * 60, []string{"b-1", "b-3"}, []string{"V-1"}}, {"night", 23*60 + 50, []string{"b-2", "b-5"}, []string{"V-1", "V-2"}}} {
			due := midnight + round.at*60_000
			until := due + 30*60_000
			if until < r.from || until >= r.to {
				continue
			}
			for _, point := range round.points {
				state := "missed"
				for _, p := range all {
					if p.point != point || p.at < due || p.at > until+30*60_000 || p.officer != "" && !slices.Contains(round.who, p.officer) {
						continue
					}
					if p.at <= until {
						state = "kept"
					} else if state == "missed" {
						state = "late"
					}
				}
				f(round.id, point, until, state)
			}
		}
	}
}

func (r *recount) rounds() lines {
	out := make(lines)
	r.visits(func(round, _ string, _ int64, state string) {
		if out[round] == nil {
			out[round] = map[string]any{"kept": 0.0, "late": 0.0, "missed": 0.0}
		}
		out[round][state] = out[round][state].(float64) + 1
	})
	return out
}

func (r *recount) areas() lines {
	out := make(lines)
	at := func(begin int64, area string) map[string]any {
		key := strconv.FormatInt(begin, 10) + " " + area
		if out[key] == nil {
			out[key] = map[string]any{"devices": 0.0, "heard_s": 0.0, "of_s": 0.0, "available": nil, "kept": 0.0, "late": 0.0, "missed": 0.0}
		}
		return out[key]
	}
	lies, seen := make(map[string]string), make(map[minute]bool)
	for _, y := range yards {
		lies[y.ID] = r.areaOf(y.ID)
	}
	begin, last := r.from, int64(-1)
	r.minutes(func(device string, ms int64, heard bool) {
		if last < 0 || ms != last+60_000 || (ms+8*60*60*1000)%dayMs == 0 {
			begin = r.begin(ms)
		}
		last = ms
		row := at(begin, lies[device])
		if key := (minute{device: device, ms: begin}); !seen[key] {
			seen[key] = true
			row["devices"] = row["devices"].(float64) + 1
		}
		row["of_s"] = row["of_s"].(float64) + 60
		if heard {
			row["heard_s"] = row["heard_s"].(float64) + 60
		}
	})
	r.visits(func(_, point string, until int64, state string) {
		row := at(r.begin(until), lies[point])
		row[state] = row[state].(float64) + 1
	})
	for _, row := range out {
		if of := row["of_s"].(float64); of > 0 {
			row["available"] = row["heard_s"].(float64) / of
		}
	}
	return out
}

// compare compares what the page was told with the recount, each number of each row.
func compare(t *testing.T, name string, page map[string]any, want map[string]lines) {
	t.Helper()
	ms := func(v any) string {
		at, err := time.Parse(time.RFC3339, v.(string))
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatInt(at.UnixMilli(), 10)
	}
	for part, keyOf := range map[string]func(row map[string]any) string{
		"rows": func(r map[string]any) string {
			return ms(r["from"]) + " " + r["area"].(string) + " " + r["class"].(string)
		},
		"areas":   func(r map[string]any) string { return ms(r["from"]) + " " + r["area"].(string) },
		"devices": func(r map[string]any) string { return r["device"].(string) },
		"rounds":  func(r map[string]any) string { return r["round"].(string) },
	} {
		got := make(map[string]bool)
		for _, row := range page[part].([]any) {
			r := row.(map[string]any)
			key := keyOf(r)
			if got[key] {
				t.Errorf("%s: %s: %q is there twice", name, part, key)
			}
			got[key] = true
			if want[part][key] == nil {
				t.Errorf("%s: %s: %q is not in the recount: %v", name, part, key, r)
				continue
			}
			for field, v := range want[part][key] {
				if !same(r[field], v) {
					t.Errorf("%s: %s: %q: %s is %v, recounted %v", name, part, key, field, r[field], v)
				}
			}
		}
		for _, key := range slices.Sorted(maps.Keys(want[part])) {
			if !got[key] {
				t.Errorf("%s: %s: %q is missing: recounted %v", name, part, key, want[part][key])
			}
		}
	}
}

func same(a, b any) bool {
	switch b := b.(type) {
	case float64:
		n, ok := a.(float64)
		return ok && math.Abs(n-b) < 1e-6
	case map[string]any:
		m, ok := a.(map[string]any)
		return ok && maps.EqualFunc(m, b, same)
	}
	return a == b
}

// compareTable compares the table with what the page was told, cell by cell.
func compareTable(t *testing.T, name string, page map[string]any, table []byte) {
	t.Helper()
	in := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(table, []byte("\uFEFF"))))
	in.FieldsPerRecord = -1
	all, err := in.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{"incidents": "rows", "area": "areas", "device": "devices", "round": "rounds"}
	lines := make(map[string][]map[string]string)
	var head []string
	for _, line := range all {
		if line[0] == "what" {
			head = line
			continue
		}
		cells := make(map[string]string)
		for i, c := range line {
			cells[head[i]] = c
		}
		lines[parts[line[0]]] = append(lines[parts[line[0]]], cells)
	}
	text := func(v any) string {
		switch v := v.(type) {
		case nil:
			return ""
		case float64:
			b, _ := json.Marshal(v)
			return string(b)
		}
		s := fmt.Sprint(v)
		if strings.HasPrefix(s, "=") || strings.HasPrefix(s, "@") { // a spreadsheet would calculate it
			s = "'" + s
		}
		return s
	}
	for _, part := range parts {
		rows := page[part].([]any)
		if len(rows) != len(lines[part]) {
			t.Errorf("%s: the table has %d %s, the page %d", name, len(lines[part]), part, len(rows))
			continue
		}
		for i, row := range rows {
			cells := maps.Clone(lines[part][i])
			delete(cells, "what")
			check := func(column string, v any) {
				if got, ok := cells[column]; !ok || got != text(v) {
					t.Errorf("%s: %s %d: the table's %s is %q, the page's %q", name, part, i, column, got, text(v))
				}
				delete(cells, column)
			}
			for field, v := range row.(map[string]any) {
				switch v := v.(type) {
				case map[string]any:
					for inner, v := range v {
						column := field + "_" + inner
						if field == "codes" {
							column = inner
						}
						check(column, v)
					}
				default:
					check(field, v)
				}
			}
			for column, left := range cells { // codes that the page does not name, and the period of the whole
				if left != "0" && column != "from" && column != "to" {
					t.Errorf("%s: %s %d: the table's %s is %q, the page has none", name, part, i, column, left)
				}
			}
		}
	}
}
