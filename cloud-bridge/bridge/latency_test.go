package bridge_test

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/firmware/wire"
)

// How long from a sealed alarm's publishing until the desk's stream tells of
// it, over MQTT and HTTP on the loopback, the commit synced in between; and
// until its acknowledgement is back at the device.
//
// Idle, and while a car sends its backlog of full batches as fast as the centre
// acknowledges them.
//
//	go test -run '^$' -bench PressToDesk ./cloud-bridge/bridge
func BenchmarkPressToDesk(b *testing.B) {
	b.Run("idle", func(b *testing.B) { pressToDesk(b, false) })
	b.Run("backlog", func(b *testing.B) { pressToDesk(b, true) })
}

func pressToDesk(b *testing.B, backlog bool) {
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
	if backlog {
		must(b, "device", "add", "--data", data, "--id", "car-01", "--kind", "patrol-car", "--key", publicHex(deviceKey))
		stop, fixes := sendBacklog(b, c, raw), time.Now()
		defer func() { b.ReportMetric(float64(stop())/time.Since(fixes).Seconds(), "fixes/s") }()
	}
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

// sendBacklog sends a car's track, full batches, at most 64 ahead of what is
// acknowledged, until it is stopped; stop returns how many fixes were taken.
func sendBacklog(b *testing.B, c *centre, centreKey ed25519.PublicKey) (stop func() int) {
	b.Helper()
	const window, size = 64, 60
	acked := make(chan uint64, 1000)
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + c.mqtt).SetClientID("car-01"))
	if tok := client.Connect(); !tok.WaitTimeout(patience) || tok.Error() != nil {
		b.Fatal(tok.Error())
	}
	client.Subscribe(wire.DownTopic("car-01"), 0, func(_ mqtt.Client, m mqtt.Message) {
		if d, err := wire.OpenDown(m.Payload(), centreKey, "car-01"); err == nil {
			acked <- d.Body.(*wire.Ack).UpTo[wire.Track]
		}
	}).WaitTimeout(patience)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan uint64, 1)
	go func() {
		var upTo, seq uint64
		var prev wire.Hash
		for ctx.Err() == nil {
			for seq < upTo+window {
				seq++
				batch := &wire.TrackBatch{Fixes: make([]wire.TrackFix, size)}
				for n := range batch.Fixes {
					batch.Fixes[n].Time = int64(seq*size+uint64(n)) * 1000
				}
				e := &wire.Event{Device: "car-01", Stream: wire.StreamID{1}, Lane: wire.Track, Seq: seq, Prev: prev, Boot: 1, Body: batch}
				msg, err := wire.Seal(e, deviceKey)
				if err != nil {
					b.Error(err)
					return
				}
				prev = wire.HashOf(msg)
				client.Publish(wire.UpTopic("car-01", wire.Track), 1, false, msg)
			}
			select {
			case upTo = <-acked:
			case <-ctx.Done():
			}
		}
		done <- upTo * size
	}()
	return func() int {
		cancel()
		n := <-done
		client.Disconnect(0)
		return int(n)
	}
}
