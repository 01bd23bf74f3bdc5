package broker_test

import (
	"bytes"
	"log/slog"
	"net"
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
