package terminal

import (
	"math"
	"strconv"
	"time"

	sunrise "github.com/nathan-osman/go-sunrise"

	"github.com/fengsui/fengsui/firmware/wire"
)

// The types below are the page's JSON. What is personal is in Duty alone, which
// is null while nobody is signed on, and in the list of Fingers.

// state is all that the page shows.
type state struct {
	Device  string   `json:"device"`
	Now     *string  `json:"now"` // RFC 3339; null: the device does not know the time
	Clock   string   `json:"clock"`
	Night   bool     `json:"night"`
	Reader  bool     `json:"reader"`
	PIN     bool     `json:"pin"`
	LockedS int      `json:"locked_s"`
	Link    string   `json:"link"`       // "live", "connected": to a broker, the centre not heard; "none"
	LostS   int      `json:"lost_s"`     // for how long the centre is not heard
	Lost    *string  `json:"lost_since"` // since when; null: it is heard, or the device does not know the time
	Queue   Queue    `json:"queue"`
	Drill   bool     `json:"drill"`
	Faults  []string `json:"faults"`
	Fix     *fix     `json:"fix"`
	GPS     bool     `json:"gps"` // there is a receiver
	Waiting int      `json:"waiting"`
	Help    *Help    `json:"help"`
	Duty    *duty    `json:"duty"`

	Fingers *fingersView `json:"fingers"` // null: there is no reader
}

type fix struct {
	Lat, Lon float64 `json:"-"`
	Text     string  `json:"text"` // degrees, for people
	AgeS     float64 `json:"age_s"`
	Mode     int     `json:"mode"`
	Within   int     `json:"within_m"` // roughly ±; 0: not known
	KMH      int     `json:"kmh"`
	Course   *int    `json:"course"` // degrees; null while standing
	Quality  string  `json:"quality"`
}

type duty struct {
	Officer string    `json:"officer"`
	Fix     *place    `json:"fix"`
	Path    []float64 `json:"path"`  // lat, lon and age in seconds of each, the oldest first
	Doing   *Doing    `json:"doing"` // null: nothing was said
	Tasks   []task    `json:"tasks"`
	Photos  []Photo   `json:"photos"`
}

type place struct {
	Lat float64 `json:"lat"`
	Lon float64 `json:"lon"`
}

type landmark struct {
	Name string  `json:"name"`
	Lat  float64 `json:"lat"`
	Lon  float64 `json:"lon"`
}

type task struct {
	Incident string     `json:"incident"`
	State    string     `json:"state"`
	Stage    string     `json:"stage"`
	Kind     string     `json:"kind"`
	Priority uint64     `json:"priority"`
	Drill    bool       `json:"drill"`
	Silent   bool       `json:"silent"`
	Name     string     `json:"name"`
	Device   string     `json:"device"`
	Note     string     `json:"note"`
	Place    *place     `json:"place"`
	Within   uint64     `json:"within_m"` // of the place, ±; 0: not known
	Near     []landmark `json:"near"`
	Code     string     `json:"code"`   // when it ended
	By       string     `json:"by"`     // who withdrew or ended it
	Over     *string    `json:"over"`   // when
	Source   string     `json:"source"` // of the place
	PlaceAge float64    `json:"place_age_s"`
	Pressed  *string    `json:"pressed"`
	WithinS  float64    `json:"pressed_within_s"`
	Metres   *float64   `json:"metres"`  // from the car; null: not known
	Bearing  *float64   `json:"bearing"` // degrees from true north
	Said     []Said     `json:"said"`
	Photos   []string   `json:"photos"`
}

// usable is how old a fix may be for a distance to be worked out from it.
const usable = 60 * time.Second

func page(v View) state {
	s := state{
		Device: v.Device, Clock: v.ClockSource, Reader: v.Reader, PIN: v.PIN, LockedS: int(math.Ceil(v.Locked.Seconds())),
		Link: "none", Queue: v.Queue, Drill: v.Drill, Faults: append([]string{}, v.Faults...), GPS: v.Receiver, Help: v.Help,
	}
	if v.ClockSource != wire.WallNone.String() {
		now := v.Now.UTC().Format(time.RFC3339)
		s.Now = &now
	}
	if !v.Heard {
		s.LostS = int(v.Lost.Seconds())
		if s.Now != nil {
			since := v.Now.Add(-v.Lost).UTC().Format(time.RFC3339)
			s.Lost = &since
		}
	}
	switch {
	case v.Heard:
		s.Link = "live"
	case v.Connected:
		s.Link = "connected"
	}
	for _, t := range v.Tasks {
		if t.Assignment.State == wire.Assigned {
			s.Waiting++
		}
	}
	if f := v.Fix; f != nil {
		s.Fix = viewFix(f)
		s.Night = s.Now != nil && night(f.Lat, f.Lon, v.Now)
	}
	if v.Officer != "" {
		s.Duty = viewDuty(&v)
	}
	return s
}

// night reports whether the sun is below the horizon, by its centre and with
// refraction: −0.833°.
func night(lat, lon float64, at time.Time) bool { return sunrise.Elevation(lat, lon, at) < -0.833 }

func viewFix(f *Fix) *fix {
	v := &fix{
		AgeS: math.Round(f.Age.Seconds()*10) / 10, Mode: f.Mode, KMH: int(math.Round(f.Speed * 3.6)), Quality: "live",
		Text: strconv.FormatFloat(f.Lat, 'f', 5, 64) + ", " + strconv.FormatFloat(f.Lon, 'f', 5, 64),
	}
	// Two standard deviations of a receiver with 2.5 m of range error, times its
	// geometry: rough, and said to be.
	if f.HDOP > 0 {
		v.Within = int(math.Ceil(5 * f.HDOP))
	}
	if f.HasCourse && f.Speed > 1 {
		c := int(math.Round(f.Course)) % 360
		v.Course = &c
	}
	switch {
	case f.Age > usable:
		v.Quality = "old"
	case f.Age > 10*time.Second:
		v.Quality = "recent"
	}
	return v
}

func viewDuty(v *View) *duty {
	d := &duty{Officer: v.Officer, Doing: v.Doing, Path: []float64{}, Tasks: []task{}, Photos: append([]Photo{}, v.Photos...)}
	for _, s := range v.Path {
		d.Path = append(d.Path, math.Round(s.Lat*1e5)/1e5, math.Round(s.Lon*1e5)/1e5, math.Round(s.Age.Seconds()/10)*10)
	}
	if v.Fix != nil {
		d.Fix = &place{v.Fix.Lat, v.Fix.Lon}
	}
	for i := range v.Tasks {
		d.Tasks = append(d.Tasks, viewTask(&v.Tasks[i], v.Fix))
	}
	return d
}

func viewTask(t *Task, from *Fix) task {
	a := &t.Assignment
	v := task{
		Incident: strconv.FormatUint(a.Incident, 10), State: a.State.String(), Stage: a.Stage, Kind: a.Kind, Priority: a.Priority,
		Drill: a.Drill, Silent: a.Silent, Name: a.Name, Device: a.Device, Note: a.Note,
		Said: append([]Said{}, t.Said...), Photos: append([]string{}, t.Photos...), Near: []landmark{}, Code: a.Code, By: a.By,
	}
	for _, l := range a.Near {
		v.Near = append(v.Near, landmark{l.Name, float64(l.LatE7) / 1e7, float64(l.LonE7) / 1e7})
	}
	if !t.Over.IsZero() {
		at := t.Over.UTC().Format(time.RFC3339)
		v.Over = &at
	}
	if p := a.Pressed; p != nil {
		at := time.UnixMilli(p.UnixMilli).UTC().Format(time.RFC3339)
		v.Pressed, v.WithinS = &at, float64(p.WithinMs)/1000
	}
	if p := a.Place; p != nil {
		v.Place = &place{float64(p.LatE7) / 1e7, float64(p.LonE7) / 1e7}
		v.Source, v.PlaceAge, v.Within = "gnss", float64(p.AgeMs)/1000, p.Within
		if p.Source == wire.PlaceSurveyed {
			v.Source = "surveyed"
		}
		if from != nil && from.Age <= usable {
			m, b := way(from.Lat, from.Lon, v.Place.Lat, v.Place.Lon)
			v.Metres, v.Bearing = &m, &b
		}
	}
	return v
}

// way returns the distance in metres and the initial bearing in degrees of the
// great circle from one place to another, on a sphere of the Earth's mean
// radius (6,371,008.8 m; IUGG).
func way(lat1, lon1, lat2, lon2 float64) (metres, bearing float64) {
	const rad = math.Pi / 180
	p1, p2, dl := lat1*rad, lat2*rad, (lon2-lon1)*rad
	h := math.Pow(math.Sin((p2-p1)/2), 2) + math.Cos(p1)*math.Cos(p2)*math.Pow(math.Sin(dl/2), 2)
	metres = 2 * 6371008.8 * math.Asin(math.Min(1, math.Sqrt(h)))
	y, x := math.Sin(dl)*math.Cos(p2), math.Cos(p1)*math.Sin(p2)-math.Sin(p1)*math.Cos(p2)*math.Cos(dl)
	return math.Round(metres*10) / 10, math.Round(math.Mod(math.Atan2(y, x)/rad+360, 360)*10) / 10
}
