package broker_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"

	"github.com/fengsui/fengsui/cloud-bridge/broker"
)

func start(t *testing.T, addr string) (*broker.Broker, error) {
	return broker.Start(t.TempDir(), addr, slog.New(slog.DiscardHandler))
}

// A client that connects too early waits; its first message is not lost.
func TestAcceptsWhenListening(t *testing.T) {
	b, err := start(t, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + b.Address()).SetClientID("early").SetConnectRetry(false))
	connected := c.Connect()
	if connected.WaitTimeout(50 * time.Millisecond) {
		t.Fatalf("connected before Accept: %v", connected.Error())
	}
	got := make(chan *nats.Msg, 1)
	inside, err := nats.Connect("", nats.InProcessServer(b))
	if err != nil {
		t.Fatal(err)
	}
	defer inside.Close()
	if _, err := inside.ChanSubscribe("fs.v1.*.up.*", got); err != nil {
		t.Fatal(err)
	}
	if err := inside.Flush(); err != nil {
		t.Fatal(err)
	}
	b.Accept()
	if connected.Wait(); connected.Error() != nil {
		t.Fatal(connected.Error())
	}
	defer c.Disconnect(0)
	c.Publish("fs/v1/box-01/up/alarm", 1, false, []byte("help")).Wait()
	if m := <-got; m.Subject != "fs.v1.box-01.up.alarm" || !bytes.Equal(m.Data, []byte("help")) {
		t.Errorf("got %s %q", m.Subject, m.Data)
	}
}

// Sessions of every sort, a retained message and one of each quality of
// service leave nothing on the disk, which may be full.
func TestKeepsNothingOnDisk(t *testing.T) {
	dir := t.TempDir()
	b, err := broker.Start(dir, "127.0.0.1:0", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer b.Stop()
	b.Accept()
	got := make(chan byte, 100)
	for _, clean := range []bool{true, false} {
		c := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + b.Address()).SetClientID(fmt.Sprint("clean-", clean)).SetCleanSession(clean))
		if c.Connect().Wait(); !c.IsConnectionOpen() {
			t.Fatal("not connected")
		}
		defer c.Disconnect(0)
		for qos := range byte(3) {
			topic := fmt.Sprintf("t/%t/%d", clean, qos)
			if tok := c.Subscribe(topic, qos, func(_ mqtt.Client, m mqtt.Message) { got <- m.Qos() }); tok.Wait() && tok.Error() != nil {
				t.Fatal(tok.Error())
			}
			if tok := c.Publish(topic, qos, qos == 1, "x"); tok.Wait() && tok.Error() != nil {
				t.Fatal(tok.Error())
			}
			if q := <-got; q != qos {
				t.Errorf("quality of service %d came as %d", qos, q)
			}
		}
	}
	var files []string
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) > 0 {
		t.Errorf("files %v, %v: want none", files, err)
	}
}

func TestAddresses(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for addr, want := range map[string]string{
		"nowhere":               "host:port",
		"127.0.0.1:mqtt":        "port",
		"127.0.0.1:70000":       "0 to 65535",
		taken.Addr().String():   "in use",
		"192.0.2.1:0":           "assign", // TEST-NET-1: not an address of ours
		"[::1]:not-a-port:1883": "host:port",
	} {
		b, err := start(t, addr)
		if err == nil {
			b.Stop()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v: want an error with %q", addr, err, want)
		}
	}
}
