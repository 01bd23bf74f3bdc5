// Package grid is the district's division into cells, villages and townships:
// a GeoJSON file (RFC 7946) that says who is responsible where.
//
// Each feature of the collection has the properties
//
//	id      1 to 64 bytes, once in the file
//	level   "cell", "village", "township" or "district"; one is the district
//	name    for people
//	parent  the id of the next level's feature; absent for the district
//	unit    the responsible unit: a patrol car's device id or another name; may be absent
//	people  names of those responsible; may be absent
//
// and a Polygon or MultiPolygon. The cells' are what a position is looked up
// in; the others' may be null, and are for the map.
//
// It is pure: it reads no file and keeps nothing. It names officials, never
// residents.
package grid

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/paulmach/orb"
	"github.com/paulmach/orb/geojson"
	"github.com/paulmach/orb/planar"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
)

// ErrGrid means that a file is no grid; the error lists every mistake with the
// feature, the field, its value and what would be right.
var ErrGrid = errors.New("bad grid")

// MaxFeatures is the most features of a grid.
const MaxFeatures = 10000

// maxRing is the most points of a ring: each edge is compared with each.
const maxRing = 5000

// A Level is what kind of area a feature is.
type Level string

// The levels, from below.
const (
	Cell     Level = "cell"
	Village  Level = "village"
	Township Level = "township"
	District Level = "district"
)

func levels() []Level { return []Level{Cell, Village, Township, District} }

// above returns the level that a feature's parent is of; ok is false for the
// district.
func (l Level) above() (Level, bool) {
	i := slices.Index(levels(), l) + 1
	if i == len(levels()) {
		return "", false
	}
	return levels()[i], true
}

// A Feature is one area.
type Feature struct {
	ID     string
	Level  Level
	Name   string
	Parent string
	Unit   string
	People []string
	Shape  orb.MultiPolygon // empty when it has none
}

// A Grid is a checked file. It is not changed after its making.
type Grid struct {
	Features []Feature // by level from above, then by id
	byID     map[string]*Feature
	cells    []cell
	district string
}

type cell struct {
	bound orb.Bound
	shape orb.MultiPolygon
	area  incident.Area
}

// mistakes collects what is wrong.
type mistakes []error

func (m *mistakes) add(feature, field string, value any, want string) {
	*m = append(*m, fmt.Errorf("%w: %s: %s %v: want %s", ErrGrid, feature, field, value, want))
}

// maxMistakes is how many are told at once.
const maxMistakes = 20

// Parse reads and checks a grid. The error wraps [ErrGrid] and names up to 20
// mistakes, one a line.
func Parse(b []byte) (*Grid, error) {
	var collection *geojson.FeatureCollection
	var m mistakes
	if err := json.Unmarshal(b, &collection); err != nil {
		return nil, fmt.Errorf("%w: the file is no GeoJSON: %w", ErrGrid, err)
	}
	if collection == nil || collection.Type != "FeatureCollection" {
		return nil, fmt.Errorf("%w: type: want FeatureCollection", ErrGrid)
	}
	if n := len(collection.Features); n == 0 || n > MaxFeatures {
		return nil, fmt.Errorf("%w: features %d: want 1 to %d", ErrGrid, n, MaxFeatures)
	}
	g := &Grid{byID: make(map[string]*Feature)}
	for n, f := range collection.Features {
		if f == nil {
			m.add("features["+strconv.Itoa(n)+"]", "feature", "null", "a Feature")
			continue
		}
		g.Features = append(g.Features, m.feature(n, f))
	}
	slices.SortStableFunc(g.Features, func(a, b Feature) int {
		if d := slices.Index(levels(), b.Level) - slices.Index(levels(), a.Level); d != 0 {
			return d
		}
		return strings.Compare(a.ID, b.ID)
	})
	for i := range g.Features {
		f := &g.Features[i]
		if g.byID[f.ID] != nil {
			m.add(f.name(), "id", strconv.Quote(f.ID), "each id once")
		}
		g.byID[f.ID] = f
	}
	g.parents(&m)
	if len(m) == 0 {
		g.place(&m)
	}
	if len(m) > 0 {
		if more := len(m) - maxMistakes; more > 0 {
			m = append(m[:maxMistakes], fmt.Errorf("%w: and %d more mistakes", ErrGrid, more))
		}
		return nil, errors.Join(m...)
	}
	return g, nil
}

func (f *Feature) name() string { return "feature " + quoted(f.ID) }

// quoted is a value as a mistake shows it, cut after 80 characters.
func quoted(v any) string {
	text := []rune(fmt.Sprint(v))
	if len(text) > 80 {
		text = append(text[:80], '…')
	}
	return strconv.Quote(string(text))
}

// known are the properties that a feature may have.
var known = []string{"id", "level", "name", "parent", "unit", "people"}

func (m *mistakes) feature(n int, in *geojson.Feature) Feature {
	at := "features[" + strconv.Itoa(n) + "]"
	text := func(field string, most int, required bool) string {
		v, there := in.Properties[field]
		s, is := v.(string)
		want := fmt.Sprintf("text of 1 to %d bytes", most)
		switch {
		case !there || v == nil:
			if required {
				m.add(at, field, "absent", want)
			}
		case !is || s == "" || len(s) > most || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' }):
			m.add(at, field, quoted(v), want)
		}
		return s
	}
	f := Feature{
		ID: text("id", 64, true), Level: Level(text("level", 16, true)), Name: text("name", 64, true),
		Parent: text("parent", 64, false), Unit: text("unit", 64, false),
	}
	if f.ID != "" {
		at = f.name()
	}
	for p := range in.Properties {
		if !slices.Contains(known, p) {
			m.add(at, "property", quoted(p), "one of "+strings.Join(known, ", "))
		}
	}
	if !slices.Contains(levels(), f.Level) {
		m.add(at, "level", quoted(f.Level), "cell, village, township or district")
	}
	switch people := in.Properties["people"].(type) {
	case nil:
	case []any:
		for _, p := range people {
			s, is := p.(string)
			if !is || s == "" || len(s) > 64 {
				m.add(at, "people", quoted(p), "names of 1 to 64 bytes")
			}
			f.People = append(f.People, s)
		}
	default:
		m.add(at, "people", quoted(people), "a list of names")
	}
	switch shape := in.Geometry.(type) {
	case nil:
		if f.Level == Cell {
			m.add(at, "geometry", "null", "a Polygon or MultiPolygon")
		}
	case orb.Polygon:
		f.Shape = orb.MultiPolygon{shape}
	case orb.MultiPolygon:
		f.Shape = shape
	default:
		m.add(at, "geometry", shape.GeoJSONType(), "a Polygon or MultiPolygon")
	}
	m.shape(at, f.Shape)
	return f
}

// shape checks rings: closed, of four points or more, within the world, of
// some area, and not through themselves.
func (m *mistakes) shape(at string, shape orb.MultiPolygon) {
	for _, polygon := range shape {
		if len(polygon) == 0 {
			m.add(at, "geometry", "a polygon without rings", "one ring or more")
		}
		for _, ring := range polygon {
			switch {
			case len(ring) < 4:
				m.add(at, "geometry", fmt.Sprintf("a ring of %d points", len(ring)), "four or more, the last one as the first")
				continue
			case len(ring) > maxRing:
				m.add(at, "geometry", fmt.Sprintf("a ring of %d points", len(ring)), fmt.Sprintf("at most %d", maxRing))
				continue
			case !ring.Closed():
				m.add(at, "geometry", fmt.Sprintf("a ring from %v to %v", ring[0], ring[len(ring)-1]), "the last point as the first")
				continue
			}
			if i := slices.IndexFunc(ring, func(p orb.Point) bool {
				return !(p.Lat() >= -90 && p.Lat() <= 90 && p.Lon() >= -180 && p.Lon() <= 180)
			}); i >= 0 {
				m.add(at, "geometry", fmt.Sprintf("the point %v", ring[i]), "longitude first, then latitude, in degrees")
				continue
			}
			if planar.Area(ring) == 0 {
				m.add(at, "geometry", "a ring without area", "a ring around something")
				continue
			}
			if a, b, crosses := ringCrossesItself(ring); crosses {
				m.add(at, "geometry", fmt.Sprintf("a ring whose edges at %v and %v cross", a, b), "edges that do not cross")
			}
		}
	}
}

// parents checks that the features make one tree.
func (g *Grid) parents(m *mistakes) {
	for i := range g.Features {
		f := &g.Features[i]
		if !slices.Contains(levels(), f.Level) {
			continue
		}
		want, ok := f.Level.above()
		switch parent := g.byID[f.Parent]; {
		case !ok && f.Parent != "":
			m.add(f.name(), "parent", quoted(f.Parent), "none: the district is the uppermost")
		case !ok && g.district != "":
			m.add(f.name(), "level", `"district"`, "one district; "+strconv.Quote(g.district)+" is one")
		case !ok:
			g.district = f.ID
		case parent == nil:
			m.add(f.name(), "parent", quoted(f.Parent), "the id of a "+string(want)+" in this file")
		case parent.Level != want:
			m.add(f.name(), "parent", quoted(f.Parent)+", a "+string(parent.Level), "a "+string(want))
		}
	}
	if g.district == "" {
		m.add("the file", "level", "none is district", "one feature that is")
	}
}

// place makes the cells ready to be looked up, and checks that no two of them
// hold the same ground.
func (g *Grid) place(m *mistakes) {
	for i := range g.Features {
		f := &g.Features[i]
		if f.Level != Cell {
			continue
		}
		village := g.byID[f.Parent]
		township := g.byID[village.Parent]
		g.cells = append(g.cells, cell{f.Shape.Bound(), f.Shape, incident.Area{
			Cell: f.ID, Village: village.ID, Township: township.ID, District: g.district,
		}})
	}
	for i := range g.cells {
		for j := i + 1; j < len(g.cells); j++ {
			a, b := &g.cells[i], &g.cells[j]
			if a.bound.Intersects(b.bound) && overlap(a.shape, b.shape) {
				m.add("feature "+strconv.Quote(b.area.Cell), "geometry", "overlaps cell "+strconv.Quote(a.area.Cell), "cells that share at most an edge")
			}
		}
	}
}

// Feature returns the feature of that id, or nil.
func (g *Grid) Feature(id string) *Feature {
	if g == nil {
		return nil
	}
	return g.byID[id]
}

// Locate returns where a position lies; on an edge, in the first of the cells
// by id. Outside every cell only the district is named. A nil grid knows
// nothing.
func (g *Grid) Locate(lat, lon float64) incident.Area {
	if g == nil {
		return incident.Area{}
	}
	p := orb.Point{lon, lat}
	for i := range g.cells {
		c := &g.cells[i]
		if c.bound.Contains(p) && planar.MultiPolygonContains(c.shape, p) {
			return c.area
		}
	}
	return incident.Area{District: g.district}
}

// Nowhere is where something lies whose position is not known.
func (g *Grid) Nowhere() incident.Area {
	if g == nil {
		return incident.Area{}
	}
	return incident.Area{District: g.district}
}
