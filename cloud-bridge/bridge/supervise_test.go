package bridge_test

import (
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// What the API says of links and incidents.
type (
	linked struct {
		ID   string
		Link struct{ State, Since string }
	}
	found struct {
		ID, Kind, State, Device, Alarm, Officer string
		Priority, Presses                       int
		Position                                *struct{ Source string }
		Delay                                   *struct{ MS int }
		Closed                                  *struct{ Code, By string }
	}
)

// A box falls silent and comes back, through the whole centre with times that
// are short; then the centre starts again, which opens nothing; and twins.
func TestSupervision(t *testing.T) {
	register := "devices:\n"
	boxes := []string{"box-01", "box-02", "box-03", "box-04"}
	for _, id := range boxes {
		register += fmt.Sprintf("- {id: %s, kind: alarm-box, key: %q, lat: 30.1, lon: 103.1}\n", id, publicHex(deviceKey))
	}
	register += fmt.Sprintf("- {id: box-new, kind: alarm-box, key: %q}\n", publicHex(deviceKey))
	file := filepath.Join(t.TempDir(), "devices.yaml")
	if err := os.WriteFile(file, []byte(register), 0o600); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	args := []string{"--data", data, "--devices", file, "--suspect", "4s", "--offline", "6s", "--grace", "7s"}
	c := serve(t, args...)
	raw, err := hex.DecodeString(strings.TrimSpace(must(t, "key", "--data", data)))
	if err != nil {
		t.Fatal(err)
	}
	client, _ := c.connect(t, raw)
	began := time.Now()
	mute := ""
	beat := func(id string, stream wire.StreamID, boot uint64, mono time.Duration) {
		t.Helper()
		msg, err := wire.SealHello(&wire.Hello{Device: id, Stream: stream, Boot: boot, MonoMs: uint64(mono.Milliseconds())}, deviceKey)
		if err != nil {
			t.Fatal(err)
		}
		client.Publish(wire.HelloTopic(id), 1, false, msg)
	}
	// until has the devices say hello until something is so.
	until := func(what string, so func() bool) {
		t.Helper()
		pace := time.NewTicker(200 * time.Millisecond)
		defer pace.Stop()
		for end := time.Now().Add(4 * patience); !so(); <-pace.C {
			for n, id := range boxes {
				if id != mute {
					beat(id, wire.StreamID{byte(n)}, 1, time.Since(began))
				}
			}
			if time.Now().After(end) {
				var devices, incidents string
				c.get(t, "/api/v1/devices", &devices)
				c.get(t, "/api/v1/incidents", &incidents)
				t.Fatalf("never: %s\n%s\n%s", what, devices, incidents)
			}
		}
	}
	link := func(id string) string {
		var d linked
		c.get(t, "/api/v1/devices/"+id, &d)
		return d.Link.State
	}
	incidents := func() []found {
		var got struct{ Incidents []found }
		c.get(t, "/api/v1/incidents?state=open,acknowledged,closed", &got)
		return got.Incidents
	}
	all := func(state string) func() bool {
		return func() bool { return !slices.ContainsFunc(boxes, func(id string) bool { return link(id) != state }) }
	}
	until("all live", all("live"))
	mute = "box-02"
	until("a suspect", func() bool { return link(mute) == "suspect" })
	if n := len(incidents()); n != 0 {
		t.Errorf("%d incidents of a suspect", n)
	}
	until("an incident", func() bool { return len(incidents()) > 0 })
	i := incidents()[0]
	if i.Kind != "offline" || i.State != "open" || i.Device != mute || i.Alarm != "" || i.Officer != "" || i.Priority != 4 || i.Presses != 0 ||
		i.Delay != nil || i.Position == nil || i.Position.Source != "surveyed" || link(mute) != "offline" {
		t.Errorf("%+v of a device that is %s", i, link(mute))
	}
	mute = ""
	until("all live again", all("live"))
	if is := incidents(); len(is) != 1 || is[0].State != "closed" || is[0].Closed.Code != "restored" || is[0].Closed.By != "centre" {
		t.Errorf("%+v: want it closed by the centre", is)
	}
	if link("box-new") != "never" {
		t.Errorf("a device that was never heard is %s", link("box-new"))
	}

	client.Disconnect(100)
	if status, log := c.stop(); status != 0 {
		t.Fatal(status, log)
	}
	c = serve(t, args...)
	defer func() {
		client.Disconnect(100)
		if status, log := c.stop(); status != 0 || strings.Contains(log, "level=ERROR") {
			t.Error(status, log)
		}
	}()
	until("all unsure after a start", all("unsure"))
	client, _ = c.connect(t, raw)
	until("all live after a start", all("live"))

	n := 0
	until("twins", func() bool {
		n++
		beat("box-03", wire.StreamID{99}, 5, time.Duration(n)*time.Second)
		return len(incidents()) > 1
	})
	if is := incidents(); len(is) != 2 || is[0].Kind != "twin" && is[1].Kind != "twin" {
		t.Errorf("%+v: want one of twins beside the old one", is)
	}
}
