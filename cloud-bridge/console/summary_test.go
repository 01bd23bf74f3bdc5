package console_test

import (
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"testing"

	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// BenchmarkSummary lists 5,300 devices; its floor is reading and encoding their ids alone.
func BenchmarkSummary(b *testing.B) {
	w := newWorld(b, nil)
	var rs []store.Registration
	for n := range 5300 {
		r := store.Registration{ID: fmt.Sprintf("d-%04d", n), Kind: store.AlarmBox, Name: "n", Key: key.Public().(ed25519.PublicKey), At: &store.Point{Lat: 30, Lon: 103}}
		if n >= 5000 {
			r.Kind = store.PatrolCar
		}
		rs = append(rs, r)
	}
	if err := w.db.Register(b.Context(), rs...); err != nil {
		b.Fatal(err)
	}
	get := func(b *testing.B, path string) {
		for b.Loop() {
			r := httptest.NewRequestWithContext(b.Context(), "GET", path, nil)
			w.as(local(r), "")
			answer := httptest.NewRecorder()
			w.desk.ServeHTTP(answer, r)
			if answer.Code != 200 {
				b.Fatal(answer.Body)
			}
			b.ReportMetric(float64(answer.Body.Len()), "bytes")
		}
	}
	b.Run("summary", func(b *testing.B) { get(b, "/api/v1/summary") })
	b.Run("whole devices", func(b *testing.B) { get(b, "/api/v1/devices") })
	b.Run("floor", func(b *testing.B) {
		for b.Loop() {
			signs, _, err := w.db.Signs(b.Context())
			if err != nil {
				b.Fatal(err)
			}
			ids := make([]string, len(signs))
			for i := range signs {
				ids[i] = signs[i].Device
			}
			if _, err := json.Marshal(ids); err != nil {
				b.Fatal(err)
			}
		}
	})
}
