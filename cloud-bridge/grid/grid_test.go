package grid_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/grid"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
)

// square is a cell of one degree with its lower left corner there.
func square(id, parent string, lon, lat float64) string {
	return feature(id, "cell", parent, fmt.Sprintf(`{"type":"Polygon","coordinates":[[[%g,%g],[%g,%g],[%g,%g],[%g,%g],[%g,%g]]]}`,
		lon, lat, lon+1, lat, lon+1, lat+1, lon, lat+1, lon, lat))
}

func feature(id, level, parent, geometry string) string {
	if parent != "" {
		parent = fmt.Sprintf(`,"parent":%q`, parent)
	}
	return fmt.Sprintf(`{"type":"Feature","properties":{"id":%q,"level":%q,"name":"n"%s},"geometry":%s}`, id, level, parent, geometry)
}

func collection(features ...string) []byte {
	return []byte(`{"type":"FeatureCollection","features":[` + strings.Join(features, ",") + `]}`)
}

var above = []string{
	feature("d", "district", "", "null"), feature("t1", "township", "d", "null"), feature("t2", "township", "d", "null"),
	feature("v1", "village", "t1", "null"), feature("v2", "village", "t2", "null"),
}

func with(features ...string) []byte { return collection(append(features, above...)...) }

func TestLocate(t *testing.T) {
	g, err := grid.Parse(with(square("c1", "v1", 103, 30), square("c2", "v2", 104, 30)))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		lat, lon float64
		want     incident.Area
	}{
		{30.5, 103.5, incident.Area{Cell: "c1", Village: "v1", Township: "t1", District: "d"}},
		{30.5, 104.5, incident.Area{Cell: "c2", Village: "v2", Township: "t2", District: "d"}},
		{30.5, 104, incident.Area{Cell: "c1", Village: "v1", Township: "t1", District: "d"}}, // on the edge of both
		{31.5, 103.5, incident.Area{District: "d"}},
	} {
		if got := g.Locate(c.lat, c.lon); got != c.want {
			t.Errorf("%v, %v lies in %+v, want %+v", c.lat, c.lon, got, c.want)
		}
	}
	if (*grid.Grid)(nil).Locate(30, 103) != (incident.Area{}) {
		t.Error("no grid knows a place")
	}
}

// A brute-force count of crossings agrees on a star with a hole.
func TestLocateAgainstACount(t *testing.T) {
	ring := [][2]float64{{0, 0}, {10, 1}, {5, 4}, {9, 9}, {4, 6}, {1, 10}, {2, 5}, {0, 0}}
	hole := [][2]float64{{3, 3}, {4, 3}, {4, 4}, {3, 4}, {3, 3}}
	text := func(r [][2]float64) string {
		var s []string
		for _, p := range r {
			s = append(s, fmt.Sprintf("[%g,%g]", p[0], p[1]))
		}
		return "[" + strings.Join(s, ",") + "]"
	}
	g, err := grid.Parse(with(feature("c", "cell", "v1", `{"type":"Polygon","coordinates":[`+text(ring)+","+text(hole)+`]}`)))
	if err != nil {
		t.Fatal(err)
	}
	odd := func(r [][2]float64, x, y float64) bool {
		in := false
		for i := 0; i+1 < len(r); i++ {
			a, b := r[i], r[i+1]
			if (a[1] > y) != (b[1] > y) && x < a[0]+(y-a[1])*(b[0]-a[0])/(b[1]-a[1]) {
				in = !in
			}
		}
		return in
	}
	random := rand.New(rand.NewPCG(1, 2))
	inside := 0
	for range 20000 {
		x, y := random.Float64()*12-1, random.Float64()*12-1
		want := odd(ring, x, y) && !odd(hole, x, y)
		if got := g.Locate(y, x).Cell != ""; got != want {
			t.Fatalf("%v, %v: in the cell %v, want %v", x, y, got, want)
		}
		if want {
			inside++
		}
	}
	if inside < 1000 {
		t.Errorf("%d points inside: the test tests nothing", inside)
	}
}

func TestParseNamesEachMistake(t *testing.T) {
	bow := `{"type":"Polygon","coordinates":[[[0,0],[1,1],[1,0],[0,1.5],[0,0]]]}`
	for want, file := range map[string][]byte{
		"no GeoJSON":                            []byte("{"),
		"not a feature collection":              []byte(`{"type":"Feature"}`),
		"features 0":                            collection(),
		`feature "c1": parent ""`:               with(square("c1", "", 1, 1)),
		`"t1", a township: want a village`:      with(square("c1", "t1", 1, 1)),
		`level "street": want cell`:             with(feature("x", "street", "v1", "null")),
		"each id once":                          with(square("c1", "v1", 1, 1), square("c1", "v1", 3, 3)),
		"one district":                          with(feature("d2", "district", "", "null")),
		"none is district":                      collection(feature("t", "township", "x", "null")),
		`overlaps cell "c1"`:                    with(square("c1", "v1", 1, 1), square("c2", "v2", 1.5, 1.5)),
		`"c2": geometry overlaps cell "c1"`:     with(square("c1", "v1", 1, 1), square("c2", "v2", 1, 1)),
		"geometry null":                         with(feature("c", "cell", "v1", "null")),
		"geometry Point":                        with(feature("c", "cell", "v1", `{"type":"Point","coordinates":[1,2]}`)),
		"a ring of 3 points":                    with(feature("c", "cell", "v1", `{"type":"Polygon","coordinates":[[[0,0],[1,1],[0,0]]]}`)),
		"the last point as the first":           with(feature("c", "cell", "v1", `{"type":"Polygon","coordinates":[[[0,0],[1,1],[1,0],[0,1]]]}`)),
		"longitude first":                       with(feature("c", "cell", "v1", `{"type":"Polygon","coordinates":[[[30,103],[31,103],[31,104],[30,103]]]}`)),
		"cross":                                 with(feature("c", "cell", "v1", bow)),
		`property "colour": want one of`:        with(strings.Replace(square("c", "v1", 1, 1), `"name"`, `"colour":"red","name"`, 1)),
		`people "x": want a list`:               with(strings.Replace(square("c", "v1", 1, 1), `"name"`, `"people":"x","name"`, 1)),
		`id absent`:                             with(strings.Replace(square("c", "v1", 1, 1), `"id":"c",`, ``, 1)),
		"a ring without area":                   with(feature("c", "cell", "v1", `{"type":"Polygon","coordinates":[[[0,0],[1,0],[2,0],[0,0]]]}`)),
		`parent "v9": want the id of a village`: with(square("c", "v9", 1, 1)),
	} {
		g, err := grid.Parse(file)
		if !errors.Is(err, grid.ErrGrid) || !strings.Contains(err.Error(), want) || g != nil {
			t.Errorf("want %q:\n%v", want, err)
		}
	}
	if _, err := grid.Parse(with(square("c1", "v1", 1, 1), square("c2", "v2", 2, 1), square("c3", "v2", 2, 2))); err != nil {
		t.Errorf("cells that share an edge and a corner: %v", err)
	}
}

// The grid that ships with the simulator is one, and knows each of its boxes.
func TestSample(t *testing.T) {
	b, err := os.ReadFile("../../sim/grid.geojson")
	if err != nil {
		t.Fatal(err)
	}
	g, err := grid.Parse(b)
	if err != nil {
		t.Fatal(err)
	}
	for box, at := range map[string][2]float64{
		"box-01": {30.2612, 103.1385}, "box-02": {30.2741, 103.1523}, "box-03": {30.2689, 103.1671},
		"box-04": {30.2523, 103.1612}, "box-05": {30.2446, 103.1457},
	} {
		if a := g.Locate(at[0], at[1]); a.Cell == "" || g.Feature(a.Village).Unit == "" {
			t.Errorf("%s lies in %+v", box, a)
		}
	}
	if a := g.Locate(30.2790, 103.1294); a.Cell != "" || a.District == "" {
		t.Errorf("box-06, in the woods, lies in %+v: want the district only", a)
	}
}

func FuzzParse(f *testing.F) {
	f.Add(with(square("c1", "v1", 1, 1)))
	f.Add([]byte(`{"type":"FeatureCollection","features":[null,{"type":"Feature","geometry":null,"properties":null}]}`))
	f.Add([]byte(`{"type":"FeatureCollection","features":[{"type":"Feature","geometry":{"type":"Polygon","coordinates":[]},"properties":{"level":"cell"}}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		g, err := grid.Parse(b)
		if (g == nil) != (err != nil) || err != nil && !errors.Is(err, grid.ErrGrid) {
			t.Fatalf("%v, %v", g, err)
		}
		if g != nil && g.Locate(1.5, 1.5).District == "" {
			t.Fatal("no district")
		}
	})
}
