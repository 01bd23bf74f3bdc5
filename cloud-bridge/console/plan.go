package console

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/roster"
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
		return from, to, nil, badField("from", from.UTC().Format(time.RFC3339), fmt.Sprintf("a time before to, by at most %d days", int(most.Hours()/24))).coded(codePeriod)
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
