package grid

import (
	"github.com/paulmach/orb"
	"github.com/paulmach/orb/planar"
)

// side returns on which side of the line a→b the point c is: above 0, below 0,
// or 0 on it.
func side(a, b, c orb.Point) float64 {
	return (b[0]-a[0])*(c[1]-a[1]) - (b[1]-a[1])*(c[0]-a[0])
}

// crosses reports whether two edges cross in a point that is inside both.
func crosses(a, b, c, d orb.Point) bool {
	return side(a, b, c)*side(a, b, d) < 0 && side(c, d, a)*side(c, d, b) < 0
}

// ringCrossesItself returns the beginnings of two edges that cross.
func ringCrossesItself(r orb.Ring) (a, b orb.Point, ok bool) {
	for i := 0; i+1 < len(r); i++ {
		for j := i + 2; j+1 < len(r); j++ {
			if crosses(r[i], r[i+1], r[j], r[j+1]) {
				return r[i], r[j], true
			}
		}
	}
	return a, b, false
}

// overlap reports whether two shapes hold common ground: an edge of one crosses
// one of the other, or a point well within one is in the other.
func overlap(a, b orb.MultiPolygon) bool {
	crossed := false
	edges(a, func(p, q orb.Point) {
		edges(b, func(r, s orb.Point) { crossed = crossed || crosses(p, q, r, s) })
	})
	return crossed || within(a, b) || within(b, a)
}

func edges(m orb.MultiPolygon, f func(p, q orb.Point)) {
	for _, polygon := range m {
		for _, ring := range polygon {
			for i := 0; i+1 < len(ring); i++ {
				f(ring[i], ring[i+1])
			}
		}
	}
}

// within reports whether a corner or the middle of an edge of a is inside b
// and not on its edge, or a is b.
func within(a, b orb.MultiPolygon) bool {
	inside := func(p orb.Point) bool {
		on := false
		edges(b, func(r, s orb.Point) {
			on = on || side(r, s, p) == 0 && orb.MultiPoint{r, s}.Bound().Contains(p)
		})
		return !on && planar.MultiPolygonContains(b, p)
	}
	found := false
	edges(a, func(p, q orb.Point) {
		found = found || inside(p) || inside(orb.Point{(p[0] + q[0]) / 2, (p[1] + q[1]) / 2})
	})
	if found {
		return true
	}
	for _, polygon := range a { // the same shape has all its corners on the other's edge
		if c, area := planar.CentroidArea(polygon); area != 0 && planar.PolygonContains(polygon, c) && inside(c) {
			return true
		}
	}
	return false
}
