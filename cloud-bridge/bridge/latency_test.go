package bridge_test

import (
	"bufio"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fengsui/fengsui/firmware/wire"
)

// How long from a sealed alarm's publishing until the desk's stream tells of
// it, over MQTT and HTTP on the loopback, the commit synced in between; and
// until its acknowledgement is back at the device.
//
//	go test -run '^$' -bench PressToDesk ./cloud-bridge/bridge
func BenchmarkPressToDesk(b *testing.B) {
	data := b.TempDir()
	raw, err := hex.DecodeString(strings.TrimSpace(must(b, "key", "--data", data)))
	if err != nil {
		b.Fatal(err)
	}
	must(b, "device", "add", "--data", data, "--id", "box-01", "--kind", "alarm-box", "--key", publicHex(deviceKey))
	c := serve(b, "--data", data)
	defer c.stop()
	client, down := c.connect(b, raw)
	defer client.Disconnect(0)
	r, err := http.Get(c.desk + "/api/v1/stream")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Body.Close()
	told := make(chan time.Time, 100)
	go func() {
		for lines := bufio.NewScanner(r.Body); lines.Scan(); {
			if lines.Text() == "event: incident" {
				told <- time.Now()
			}
		}
	}()
	var prev []byte
	var desk, ack []time.Duration
	seq := uint64(0)
	for b.Loop() {
		seq++
		prev = seal(b, wire.Alarm, seq, prev, &wire.AlarmRaised{Alarm: wire.NewAlarmID(), Kind: wire.Panic, Button: "b", Press: 1})
		start := time.Now()
		client.Publish(wire.UpTopic("box-01", wire.Alarm), 1, false, prev)
		await(b, "ack", down, func(body wire.DownBody) bool {
			a, ok := body.(*wire.Ack)
			return ok && a.UpTo[wire.Alarm] == seq
		})
		ack = append(ack, time.Since(start))
		desk = append(desk, (<-told).Sub(start))
	}
	for name, ds := range map[string][]time.Duration{"desk": desk, "ack": ack} {
		slices.Sort(ds)
		b.ReportMetric(float64(ds[len(ds)/2].Microseconds())/1000, name+"-p50-ms")
		b.ReportMetric(float64(ds[len(ds)*99/100].Microseconds())/1000, name+"-p99-ms")
	}
}
