package store_test

import (
	"crypto/ed25519"
	"testing"
	"time"

	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
)

// Nobody missed what was not asked: a plan that was loaded just now judges none
// of the visits that were due before.
func TestANewPlanMissesNothingOfTheDayBefore(t *testing.T) {
	db, err := store.Open(t.Context(), t.TempDir()+"/centre.db", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Shut(); err != nil {
			t.Error(err)
		}
	})
	box := store.Registration{ID: "box-01", Kind: store.AlarmBox, Key: make(ed25519.PublicKey, ed25519.PublicKeySize)}
	if err := db.Register(t.Context(), box); err != nil {
		t.Fatal(err)
	}
	plan := `zone: UTC
people: [{id: V-1, name: patrol, kind: patrol}]
rounds: [{id: n, name: night, who: [V-1], points: [box-01], at: ["00:00", "06:00", "12:00", "18:00"], within: 1h}]
`
	if _, err := db.LoadRoster(t.Context(), incident.Actor{Name: "li", Screen: incident.ScreenDesk}, []byte(plan)); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	judged, err := db.Rounds(t.Context(), now.Add(-72*time.Hour), now.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(judged) < 3 {
		t.Fatalf("%d visits within the day that comes: want four or so", len(judged))
	}
	for _, j := range judged {
		if j.Due.Before(now.Add(-time.Minute)) && j.State != "due" {
			t.Errorf("the visit due at %v is %s", j.Due, j.State)
		}
	}
}
