package console

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/grid"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/roster"
	"github.com/fengsui/fengsui/cloud-bridge/stats"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/cloud-bridge/units"
)

// Desk reads and sets what a district is made of beside its devices.
type Desk interface {
	// Units returns all units by id, and SetUnit sets what one is doing; the error wraps
	// store.ErrNotFound or incident.ErrField.
	Units(ctx context.Context) ([]store.UnitRow, error)
	SetUnit(ctx context.Context, by incident.Actor, device string, state units.State, reason string) error
	// Grid returns the grid, or nil; LoadGrid's error wraps grid.ErrGrid.
	Grid(ctx context.Context) (*grid.Grid, *store.Document, error)
	LoadGrid(ctx context.Context, by incident.Actor, body []byte) (*grid.Grid, error)
	// Groups of boxes; the errors wrap store.ErrGroup or store.ErrNotFound.
	Groups(ctx context.Context) ([]store.Group, error)
	PutGroup(ctx context.Context, by incident.Actor, g store.Group) error
	DropGroup(ctx context.Context, by incident.Actor, id string) error
	// Drills returns exercises that are on; SetDrill's error wraps store.ErrNotFound.
	Drills(ctx context.Context) ([]store.Drill, error)
	SetDrill(ctx context.Context, by incident.Actor, devices []string, on bool, until time.Time) error
	// BeginExercise begins one at a group, and Exercises tells what became of the newest, or
	// of that one; the errors wrap store.ErrNotFound.
	BeginExercise(ctx context.Context, by incident.Actor, group string, until time.Time) error
	Exercises(ctx context.Context, id int64, limit int) ([]store.Exercise, error)
	// Roster returns the plan, or nil; LoadRoster's error wraps roster.ErrRoster or
	// store.ErrNotFound.
	Roster(ctx context.Context) (*roster.Roster, *store.Document, error)
	LoadRoster(ctx context.Context, by incident.Actor, body []byte) (*roster.Roster, error)
	// Rounds returns what became of the visits whose time ended at from ≤ time < to.
	Rounds(ctx context.Context, from, to time.Time) ([]roster.Judgement, error)
	// Outages returns of each device that was ever heard when it could not be.
	Outages(ctx context.Context, from, to time.Time) (map[string]stats.Watch, error)
}

// UnitFix is where a unit was, and how long ago.
type UnitFix struct {
	Lat   float64  `json:"lat"`
	Lon   float64  `json:"lon"`
	Time  Time     `json:"time"`
	AgeS  float64  `json:"age_s"`
	Track *float64 `json:"track"`
	Speed *float64 `json:"speed"`
}

// Unit is a unit and what it is doing.
type Unit struct {
	Device    string   `json:"device"`
	Name      string   `json:"name"`
	State     string   `json:"state"`
	Set       string   `json:"set"`
	Reason    string   `json:"reason"`
	SetBy     string   `json:"set_by"`
	SetAt     Time     `json:"set_at"`
	SetTold   Time     `json:"set_told"`
	SetFrom   string   `json:"set_from"`
	Officer   string   `json:"officer"`
	Incident  string   `json:"incident"`
	Fix       *UnitFix `json:"fix"`
	DistanceM *float64 `json:"distance_m,omitempty"`
}

func viewUnit(u *store.UnitRow, now time.Time) *Unit {
	v := &Unit{
		Device: u.Device, Name: u.Name, State: string(u.State()), Set: string(u.Set), Reason: u.Reason, SetBy: u.By, SetAt: Time{u.SetAt}, SetTold: Time{u.Told}, SetFrom: u.Screen, Officer: u.Officer,
	}
	if u.Incident != 0 {
		v.Incident = formatID(u.Incident)
	}
	if f := u.At; f != nil {
		v.Fix = &UnitFix{f.Lat, f.Lon, Time{f.Time}, *ageS(f.Time, now), u.Course, u.Speed}
	}
	return v
}

func (c *Console) listUnits(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	list, err := c.options.Store.Units(r.Context())
	if err == nil {
		list, err = only(r.Context(), c, list, whereUnit)
	}
	if err != nil {
		return nil, err
	}
	answer := struct {
		Units []*Unit `json:"units"`
	}{make([]*Unit, 0, len(list))}
	now := time.Now()
	for i := range list {
		answer.Units = append(answer.Units, viewUnit(&list[i], now))
	}
	return answer, nil
}

func whereUnit(u *store.UnitRow) (string, *store.Point) { return u.Device, nil }

// chooseUnits ranks the units as seen from an incident.
func (c *Console) chooseUnits(r *http.Request, _ http.ResponseWriter) (any, error) {
	id, err := incidentID(r)
	if err != nil {
		return nil, err
	}
	if _, err := query(r); err != nil {
		return nil, err
	}
	i, err := c.incident(r.Context(), id)
	if err != nil {
		return nil, err
	}
	// A neighbour's car may be the nearest: who may send one may see where it is.
	list, err := c.options.Store.Units(r.Context())
	if err != nil {
		return nil, err
	}
	now := time.Now()
	views := make(map[string]*Unit, len(list))
	all := make([]units.Unit, 0, len(list))
	for n := range list {
		views[list[n].Device] = viewUnit(&list[n], now)
		all = append(all, list[n].Unit)
	}
	var place *units.Fix
	if p := i.Position; p != nil {
		place = &units.Fix{Lat: p.Lat, Lon: p.Lon}
	}
	ranked := units.Rank(all, place, now, c.options.FixLimit)
	view := func(choices []units.Choice) []*Unit {
		out := make([]*Unit, 0, len(choices))
		for _, x := range choices {
			v := views[x.Device]
			if place != nil && x.At != nil {
				v.DistanceM = &x.Distance
			}
			out = append(out, v)
		}
		return out
	}
	return struct {
		FixLimitS float64 `json:"fix_limit_s"`
		Near      []*Unit `json:"near"`
		Stale     []*Unit `json:"stale"`
		Not       []*Unit `json:"not"`
	}{c.options.FixLimit.Seconds(), view(ranked.Near), view(ranked.Stale), view(ranked.Not)}, nil
}

func (c *Console) setUnit(r *http.Request, w http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	members, err := readMembers(w, r, "by", "state", "reason")
	if err != nil {
		return nil, err
	}
	if err := signs(r, members["by"]); err != nil {
		return nil, err
	}
	reason, err := noteOf(members, "reason")
	if err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if err := c.seesDevice(r.Context(), id); err != nil {
		return nil, err
	}
	if err := c.options.Store.SetUnit(r.Context(), c.actor(r), id, units.State(members["state"]), reason); err != nil {
		return nil, err
	}
	list, err := c.options.Store.Units(r.Context())
	if err != nil {
		return nil, err
	}
	n := slices.IndexFunc(list, func(u store.UnitRow) bool { return u.Device == id })
	return viewUnit(&list[n], time.Now()), nil
}

func (c *Console) getGrid(r *http.Request, w http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	_, d, err := c.options.Store.Grid(r.Context())
	if err != nil {
		return nil, err
	}
	w.Header().Set("Content-Type", "application/geo+json")
	if d == nil {
		return json.RawMessage(`{"type":"FeatureCollection","features":[]}`), nil
	}
	return json.RawMessage(d.Body), nil
}

func (c *Console) putGrid(r *http.Request, w http.ResponseWriter) (any, error) {
	by, err := c.byOf(r)
	if err != nil {
		return nil, err
	}
	body, err := readBody(w, r, maxDocument, "application/geo+json", "application/json")
	if err != nil {
		return nil, err
	}
	g, err := c.options.Store.LoadGrid(r.Context(), by, body)
	if err != nil {
		return nil, err
	}
	counts := make(map[string]int)
	for _, f := range g.Features {
		counts[string(f.Level)]++
	}
	return struct {
		Features map[string]int `json:"features"`
	}{counts}, nil
}

// Group are boxes that sound for one another.
type Group struct {
	ID        string   `json:"id"`
	Name      string   `json:"name"`
	Automatic bool     `json:"automatic"`
	SoundsS   int64    `json:"sounds_s"`
	Devices   []string `json:"devices"`
}

func (c *Console) listGroups(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	list, err := c.options.Store.Groups(r.Context())
	if err == nil { // a group stands together: its first box says where
		list, err = only(r.Context(), c, list, func(g *store.Group) (string, *store.Point) {
			if len(g.Devices) == 0 {
				return "", nil
			}
			return g.Devices[0], nil
		})
	}
	if err != nil {
		return nil, err
	}
	answer := struct {
		Groups []Group `json:"groups"`
	}{make([]Group, 0, len(list))}
	for _, g := range list {
		answer.Groups = append(answer.Groups, Group{g.ID, g.Name, g.Automatic, int64(g.Sounds.Seconds()), append([]string{}, g.Devices...)})
	}
	return answer, nil
}

func (c *Console) putGroup(r *http.Request, w http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	var in struct {
		By        string   `json:"by"`
		Name      string   `json:"name"`
		Automatic bool     `json:"automatic"`
		SoundsS   int64    `json:"sounds_s"`
		Devices   []string `json:"devices"`
	}
	in.SoundsS = 180
	if err := readObject(w, r, &in); err != nil {
		return nil, err
	}
	if err := signs(r, in.By); err != nil {
		return nil, err
	}
	g := store.Group{ID: r.PathValue("id"), Name: strings.TrimSpace(in.Name), Automatic: in.Automatic, Devices: in.Devices}
	g.Sounds = time.Duration(min(max(in.SoundsS, 0), 1e6)) * time.Second
	if err := c.options.Store.PutGroup(r.Context(), c.actor(r), g); err != nil {
		return nil, err
	}
	return Group{g.ID, g.Name, g.Automatic, in.SoundsS, append([]string{}, g.Devices...)}, nil
}

func (c *Console) dropGroup(r *http.Request, _ http.ResponseWriter) (any, error) {
	by, err := c.byOf(r)
	if err != nil {
		return nil, err
	}
	return struct{}{}, c.options.Store.DropGroup(r.Context(), by, r.PathValue("id"))
}

// Drill is an exercise at a device.
type Drill struct {
	Device string `json:"device"`
	On     bool   `json:"on"`
	Until  Time   `json:"until"`
	By     string `json:"by"`
	At     Time   `json:"at"`
	Told   bool   `json:"told"`
}

func (c *Console) listDrills(r *http.Request, _ http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	return c.drills(r)
}

func (c *Console) drills(r *http.Request) (any, error) {
	list, err := c.options.Store.Drills(r.Context())
	if err == nil {
		list, err = only(r.Context(), c, list, func(d *store.Drill) (string, *store.Point) { return d.Device, nil })
	}
	if err != nil {
		return nil, err
	}
	answer := struct {
		Drills []Drill `json:"drills"`
	}{make([]Drill, 0, len(list))}
	for _, d := range list {
		answer.Drills = append(answer.Drills, Drill{d.Device, d.On, Time{d.Until}, d.By, Time{d.At}, d.Told})
	}
	return answer, nil
}

// setDrill begins or ends an exercise at devices, at a group, or in an area of the grid.
func (c *Console) setDrill(r *http.Request, w http.ResponseWriter) (any, error) {
	if _, err := query(r); err != nil {
		return nil, err
	}
	var in struct {
		By      string   `json:"by"`
		On      bool     `json:"on"`
		Minutes int      `json:"minutes"`
		Devices []string `json:"devices"`
		Group   string   `json:"group"`
		Area    string   `json:"area"`
	}
	if err := readObject(w, r, &in); err != nil {
		return nil, err
	}
	if err := signs(r, in.By); err != nil {
		return nil, err
	}
	if in.On && (in.Minutes < 1 || in.Minutes > 24*60) {
		return nil, badField("minutes", formatID(int64(in.Minutes)), "1 to 1440")
	}
	var err error
	devices := in.Devices
	named := 0
	for _, given := range []bool{len(in.Devices) > 0, in.Group != "", in.Area != ""} {
		if given {
			named++
		}
	}
	switch {
	case named != 1:
		return nil, badField("devices", strings.Join(in.Devices, ","), "one of devices, group and area")
	case in.Group != "":
		groups, err := c.options.Store.Groups(r.Context())
		if err != nil {
			return nil, err
		}
		n := slices.IndexFunc(groups, func(g store.Group) bool { return g.ID == in.Group })
		if n < 0 {
			return nil, badField("group", in.Group, "the id of a group")
		}
		devices = groups[n].Devices
	case in.Area != "":
		if devices, err = c.devicesIn(r.Context(), in.Area); err != nil {
			return nil, err
		}
	}
	until := time.Now().Add(time.Duration(in.Minutes) * time.Minute)
	if in.Group != "" && in.On {
		err = c.options.Store.BeginExercise(r.Context(), c.actor(r), in.Group, until)
	} else {
		err = c.options.Store.SetDrill(r.Context(), c.actor(r), devices, in.On, until)
	}
	if err != nil {
		return nil, err
	}
	return c.drills(r)
}

// devicesIn are the surveyed devices in an area of the grid.
func (c *Console) devicesIn(ctx context.Context, area string) ([]string, error) {
	g, _, err := c.options.Store.Grid(ctx)
	if err != nil {
		return nil, err
	}
	if g.Feature(area) == nil {
		return nil, badField("area", area, "the id of a feature of the grid")
	}
	list, err := c.options.Store.Summary(ctx)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, d := range list {
		if d.At == nil {
			continue
		}
		if a := g.Locate(d.At.Lat, d.At.Lon); slices.Contains([]string{a.Cell, a.Village, a.Township, a.District}, area) {
			out = append(out, d.ID)
		}
	}
	if len(out) == 0 {
		return nil, badField("area", area, "an area with devices in it").coded(codeNoArea)
	}
	return out, nil
}
