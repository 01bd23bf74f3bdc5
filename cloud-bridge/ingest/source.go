package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats.go"

	"github.com/fengsui/fengsui/firmware/wire"
)

// group is shared by all programs of one centre: each message goes to one.
const group = "fengsui"

// A Source is where devices' messages come from and where answers go. Both
// implementations pass the same suite of tests.
type Source interface {
	// Subscribe delivers every uplink message to f, one at a time, until Close;
	// f may block, and then messages may be lost: they are sent again.
	Subscribe(f func(topic string, msg []byte)) error
	// Publish sends a message to a topic, once at most. It does not wait.
	Publish(topic string, msg []byte) error
	// Ready says why messages do not come in now, or nil.
	Ready() error
	// Close ends the deliveries and the connection.
	Close()
}

// NATS is a Source on a NATS server that is the devices' MQTT broker: the one
// within this process, or one of a cluster.
type NATS struct{ conn *nats.Conn }

// natsSubject is the uplink's filter in NATS's words: nats-server maps the
// topic fs/v1/x/up/alarm to the subject fs.v1.x.up.alarm.
const natsSubject = "fs.v1.*.up.*"

// NewNATS connects to an in-process server.
func NewNATS(server nats.InProcessConnProvider) (*NATS, error) {
	conn, err := nats.Connect("", nats.InProcessServer(server), nats.Name("ingest"), nats.MaxReconnects(-1))
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return &NATS{conn}, nil
}

// Subscribe implements Source.
func (n *NATS) Subscribe(f func(topic string, msg []byte)) error {
	s, err := n.conn.QueueSubscribe(natsSubject, group, func(m *nats.Msg) { f(strings.ReplaceAll(m.Subject, ".", "/"), m.Data) })
	if err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	if err := s.SetPendingLimits(100_000, 256<<20); err != nil {
		return fmt.Errorf("nats: %w", err)
	}
	return n.conn.Flush()
}

// Publish implements Source.
func (n *NATS) Publish(topic string, msg []byte) error {
	return n.conn.Publish(strings.ReplaceAll(topic, "/", "."), msg)
}

// Ready implements Source.
func (n *NATS) Ready() error {
	if !n.conn.IsConnected() {
		return errors.New("not connected to the NATS server")
	}
	return nil
}

// Close implements Source.
func (n *NATS) Close() { n.conn.Close() }

// MQTT is a Source on any MQTT broker that knows shared subscriptions, as most
// do for 3.1.1 clients also (MQTT 5, section 4.8.2).
type MQTT struct {
	client mqtt.Client
	up     chan struct{} // closed at the first successful subscription
	f      func(topic string, msg []byte)
}

const mqttTimeout = 10 * time.Second

// NewMQTT prepares a connection to mqtt://host:port; id tells several programs
// of one centre apart. It connects at Subscribe, and again whenever it must.
func NewMQTT(broker, id string, log *slog.Logger) (*MQTT, error) {
	u, err := url.Parse(broker)
	if err != nil || u.Scheme != "mqtt" || u.Host == "" {
		return nil, fmt.Errorf("broker %q: want mqtt://host:port", broker)
	}
	host := u.Host
	if u.Port() == "" {
		host += ":1883"
	}
	m := &MQTT{up: make(chan struct{})}
	m.client = mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("tcp://" + host).SetClientID("fengsui-" + id).SetProtocolVersion(4).SetCleanSession(true).
		SetConnectRetry(true).SetConnectRetryInterval(time.Second).SetMaxReconnectInterval(5 * time.Second).
		SetConnectTimeout(5 * time.Second).SetWriteTimeout(5 * time.Second).SetKeepAlive(10 * time.Second).
		SetOnConnectHandler(func(c mqtt.Client) {
			t := c.Subscribe("$share/"+group+"/"+wire.UpFilter, 1, func(_ mqtt.Client, msg mqtt.Message) { m.f(msg.Topic(), msg.Payload()) })
			if t.WaitTimeout(mqttTimeout) && t.Error() == nil {
				select {
				case <-m.up:
				default:
					close(m.up)
				}
				return
			}
			log.Error("subscription failed", "broker", host, "err", t.Error())
		}).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { log.Warn("broker lost", "broker", host, "err", err) }))
	return m, nil
}

// Subscribe implements Source. It returns after the first connection, or with
// an error after ten seconds without one.
func (m *MQTT) Subscribe(f func(topic string, msg []byte)) error {
	m.f = f
	m.client.Connect()
	t := time.NewTimer(mqttTimeout)
	defer t.Stop()
	select {
	case <-m.up:
		return nil
	case <-t.C:
		m.client.Disconnect(0)
		return errors.New("the MQTT broker does not answer")
	}
}

// Publish implements Source.
func (m *MQTT) Publish(topic string, msg []byte) error {
	if !m.client.IsConnectionOpen() {
		return errors.New("not connected to the MQTT broker")
	}
	m.client.Publish(topic, 0, false, msg)
	return nil
}

// Ready implements Source.
func (m *MQTT) Ready() error {
	if !m.client.IsConnectionOpen() {
		return errors.New("not connected to the MQTT broker")
	}
	return nil
}

// Close implements Source.
func (m *MQTT) Close() { m.client.Disconnect(250) }
