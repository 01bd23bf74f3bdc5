package store

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/roster"
)

const (
	// lookBack is how long after its time a visit is first looked at, at most,
	// where nothing is known of an earlier look.
	lookBack = 24 * time.Hour
	// reach is how far apart two visits, or a visit and a check-in, are at most
	// where the one may decide of the other: a round takes 12 h at most, and is
	// late for as long again.
	reach = 24 * time.Hour
	// lookedEvery is how often it is written down up to when visits were looked
	// at, where nothing else is to be written.
	lookedEvery = 12 * time.Hour
)

// planCache is the plans that were parsed last, by their revision; what a
// revision says does not change.
type planCache struct {
	mu    sync.Mutex
	plans map[int64]*roster.Roster
}

const keptPlans = 16

func (c *planCache) parse(rev int64, body []byte) (*roster.Roster, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := c.plans[rev]; r != nil {
		return r, nil
	}
	r, err := roster.Parse(body)
	if err != nil {
		return nil, fmt.Errorf("store: the plan that was loaded: %w", err)
	}
	if c.plans == nil || len(c.plans) >= keptPlans {
		c.plans = make(map[int64]*roster.Roster)
	}
	c.plans[rev] = r
	return r, nil
}

// A visitKey names a visit.
type visitKey struct {
	round string
	due   int64
	point string
}

func keyOf(v *roster.Visit) visitKey { return visitKey{v.Round, v.Due.UnixMilli(), v.Point} }

// asked returns the visits whose time ends at from ≤ time < to. What is asked
// of a time is what the plan said that was in force at its beginning: a plan
// that is loaded later hides none of it. Those that nobody had asked for by then
// are apart: whoever made one has made it, and nobody has missed it.
func (c *planCache) asked(rows rowsOf, from, to time.Time) (visits, unasked []roster.Visit, err error) {
	type plan struct {
		*roster.Roster
		at    time.Time
		first bool
	}
	var plans []plan
	err = rows(`SELECT p.rev, p.at, p.body, p.rev = (SELECT min(rev) FROM plans) FROM plans p WHERE p.at < ?
		AND coalesce((SELECT min(n.at) FROM plans n WHERE n.rev > p.rev), 1 << 62) > ? ORDER BY p.rev`,
		[]any{to.UnixMilli(), from.Add(-reach).UnixMilli()}, func(scan func(...any) error) (bool, error) {
			var rev, at int64
			var body []byte
			var p plan
			if err := scan(&rev, &at, &body, &p.first); err != nil {
				return false, err
			}
			var err error
			p.Roster, err = c.parse(rev, body)
			p.at = time.UnixMilli(at)
			plans = append(plans, p)
			return true, err
		})
	if err != nil {
		return nil, nil, err
	}
	seen := make(map[visitKey]bool)
	for n, p := range plans {
		for _, v := range p.Visits(from, to) {
			switch {
			case n+1 < len(plans) && !v.Due.Before(plans[n+1].at), seen[keyOf(&v)]:
				continue
			case !v.Due.Before(p.at):
				visits = append(visits, v)
			case p.first || !v.Until.Before(p.at):
				unasked = append(unasked, v)
			default:
				continue
			}
			seen[keyOf(&v)] = true
		}
	}
	return visits, unasked, nil
}

// judge returns the visits whose time ended at from ≤ time < to, and what became
// of each by now, and what the audit record says of those that it names.
func (c *planCache) judge(rows rowsOf, from, to, now time.Time) ([]roster.Judgement, map[visitKey]string, error) {
	// What is late for one visit may be in time for another: all are judged.
	asked, unasked, err := c.asked(rows, from.Add(-reach), to.Add(reach))
	if err != nil || len(asked)+len(unasked) == 0 {
		return nil, nil, err
	}
	noted, err := readNoted(rows, from.Add(-reach), to)
	if err != nil {
		return nil, nil, err
	}
	came, err := readCheckIns(rows, from.Add(-2*reach), to.Add(2*reach))
	if err != nil {
		return nil, nil, err
	}
	var passed []roster.CheckIn
	for _, c := range came {
		if !c.Drill { // an exercise is no round
			passed = append(passed, roster.CheckIn{Point: c.Device, At: c.At, Officer: c.Officer})
		}
	}
	judged := roster.Judge(append(asked, unasked...), passed, now)
	kept := judged[:0]
	for n, j := range judged {
		_, known := noted[keyOf(&j.Visit)]
		within := !j.Until.Before(from) && j.Until.Before(to)
		if within && (n < len(asked) || j.State != roster.Missed || known) {
			kept = append(kept, j)
		}
	}
	slices.SortStableFunc(kept, func(a, b roster.Judgement) int {
		return cmp.Or(a.Until.Compare(b.Until), cmp.Compare(a.Round, b.Round), cmp.Compare(a.Point, b.Point))
	})
	return kept, noted, nil
}

// readNoted returns what the audit record says last of visits due at from ≤
// time < to.
func readNoted(rows rowsOf, from, to time.Time) (map[visitKey]string, error) {
	have := make(map[visitKey]string)
	return have, rows(`SELECT round, due, point, state FROM missed WHERE due >= ? AND due < ?`, []any{from.UnixMilli(), to.UnixMilli()},
		func(scan func(...any) error) (bool, error) {
			var k visitKey
			var state string
			err := scan(&k.round, &k.due, &k.point, &state)
			have[k] = state
			return true, err
		})
}

// Rounds returns the visits whose time ended at from ≤ time < to, and what
// became of each.
func (s *Store) Rounds(ctx context.Context, from, to time.Time) ([]roster.Judgement, error) {
	judged, _, err := s.plans.judge(s.reader(ctx), from, to, s.now())
	return judged, err
}

// roundNews returns the judgements of which the audit record says something else:
// those that were missed and not noted, and those that were noted and have
// turned out to be otherwise.
func roundNews(judged []roster.Judgement, noted map[visitKey]string) (out []roster.Judgement) {
	for _, j := range judged {
		state, known := noted[keyOf(&j.Visit)]
		if j.State != roster.Due && (known && j.State != state || !known && j.State == roster.Missed) {
			out = append(out, j)
		}
	}
	return out
}

// MissedRounds notes the visits that were missed and not noted yet, and
// returns when the time of the next one ends; zero when there is none within a
// day.
func (s *Store) MissedRounds(ctx context.Context) (next time.Time, err error) {
	now := s.now()
	rows := s.reader(ctx)
	from := now.Add(-lookBack)
	var looked sql.NullInt64
	if _, err := s.queryRow(ctx, `SELECT max(at) FROM rounds_looked`, nil, []any{&looked}); err != nil {
		return next, err
	}
	if at := fromMillis(looked); looked.Valid && at.Before(from) { // the centre was down
		from = at
	}
	coming, _, err := s.plans.judge(rows, now, now.Add(lookBack), now)
	if err != nil {
		return next, err
	}
	for _, j := range coming {
		if next.IsZero() || j.Until.Before(next) {
			next = j.Until
		}
	}
	if !next.IsZero() {
		next = next.Add(time.Millisecond)
	}
	judged, noted, err := s.plans.judge(rows, from, now, now)
	if err != nil || len(roundNews(judged, noted)) == 0 && looked.Valid && now.Sub(fromMillis(looked)) < lookedEvery {
		return next, err
	}
	return next, s.update(ctx, func(t *tx) error {
		if err := t.note(from, now); err != nil {
			return err
		}
		if err := t.exec(`DELETE FROM rounds_looked`); err != nil {
			return err
		}
		return t.exec(`INSERT INTO rounds_looked (at) VALUES (?)`, now.UnixMilli())
	})
}

// note brings the audit record to what is known of the visits whose time ended
// at from ≤ time < to: what was missed is noted once, and what turns out to be
// otherwise is said beside it.
func (t *tx) note(from, to time.Time) error {
	judged, noted, err := t.plans.judge(t.rows, from, to, t.at)
	if err != nil {
		return err
	}
	for _, j := range roundNews(judged, noted) {
		if err := t.exec(`INSERT INTO missed (round, due, point, at, state) VALUES (?,?,?,?,?)
			ON CONFLICT (round, due, point) DO UPDATE SET state = excluded.state`,
			j.Round, j.Due.UnixMilli(), j.Point, t.at.UnixMilli(), j.State); err != nil {
			return err
		}
		detail := j.Point + " due " + rfc3339(j.Due)
		if was, known := noted[keyOf(&j.Visit)]; known {
			detail += ": it was noted as " + was
		}
		if !j.At.IsZero() {
			who := "somebody"
			if j.By != "" {
				who = j.By
			}
			detail += ", and " + who + " came at " + rfc3339(j.At)
		}
		if err := t.did(incident.Actor{Name: "centre", Screen: incident.ScreenCentre}, "round_"+j.State, "round/"+j.Round, detail); err != nil {
			return err
		}
		t.change(Change{Kind: RoundChanged, Device: j.Point})
	}
	return nil
}

func rfc3339(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// came brings the audit record to what a check-in at a time changes, if it says
// anything of the visits that it may decide.
func (t *tx) came(device int64, at time.Time) error {
	from, to := at.Add(-2*reach), at.Add(reach)
	var n int
	if _, err := t.row(`SELECT count(*) FROM missed m JOIN devices d ON d.id = m.point WHERE d.device = ? AND m.due >= ? AND m.due < ?`,
		[]any{device, from.UnixMilli(), to.UnixMilli()}, []any{&n}); err != nil || n == 0 {
		return err
	}
	return t.note(from, to)
}
