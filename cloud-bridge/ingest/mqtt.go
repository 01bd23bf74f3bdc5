package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/firmware/wire"
)

const (
	mqttTimeout   = 5 * time.Second // to connect, to subscribe, to write
	mqttFirst     = 2 * time.Second // that Subscribe waits
	mqttKeepAlive = 10 * time.Second
	mqttPauseMin  = 200 * time.Millisecond
	mqttPauseMax  = 5 * time.Second
	mqttQuiesce   = 100 // milliseconds
)

// errNotConnected is what Publish and Ready return between connections.
var errNotConnected = errors.New("not connected to the MQTT broker")

// MQTT is a [Source] over any MQTT 3.1.1 broker with shared subscriptions
// ($share/group/filter). It connects again, for ever, until Close.
type MQTT struct {
	server, id string
	log        *slog.Logger
	stop       context.CancelFunc
	done       chan struct{}
	start      chan func(topic string, payload []byte)
	up         chan struct{} // closed at the first connection

	mu     sync.Mutex
	client mqtt.Client // nil between connections
}

// NewMQTT prepares a connection to mqtt://host:port; id tells several programs
// of one centre apart. It connects at Subscribe.
func NewMQTT(broker, id string, log *slog.Logger) (*MQTT, error) {
	u, err := url.Parse(broker)
	if err != nil || u.Scheme != "mqtt" || u.Hostname() == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return nil, fmt.Errorf("broker %q: want mqtt://host:port", broker)
	}
	port := u.Port()
	if port == "" {
		port = "1883" // IANA
	}
	ctx, stop := context.WithCancel(context.Background())
	m := &MQTT{
		server: net.JoinHostPort(u.Hostname(), port), id: id, log: log, stop: stop, done: make(chan struct{}),
		start: make(chan func(string, []byte)), up: make(chan struct{}),
	}
	go m.keep(ctx)
	return m, nil
}

// Server returns the broker's address, host:port.
func (m *MQTT) Server() string { return m.server }

// Close disconnects and returns when nothing of the source runs.
func (m *MQTT) Close() {
	m.stop()
	<-m.done
}

// Subscribe implements [Source]. It waits a while for the broker; one that
// does not answer yet is connected to when it does.
func (m *MQTT) Subscribe(f func(topic string, payload []byte)) error {
	t := time.NewTimer(mqttFirst)
	defer t.Stop()
	select {
	case m.start <- f:
	case <-m.up:
		return errors.New("mqtt: subscribed already")
	case <-m.done:
		return errors.New("mqtt: closed")
	}
	select {
	case <-m.up:
	case <-t.C:
		m.log.Warn("the MQTT broker does not answer yet", "server", m.server)
	case <-m.done:
	}
	return nil
}

// Publish implements [Source].
func (m *MQTT) Publish(topic string, payload []byte) error {
	m.mu.Lock()
	c := m.client
	m.mu.Unlock()
	if c == nil || !c.IsConnectionOpen() {
		return errNotConnected
	}
	if t := c.Publish(topic, 0, false, payload); t.WaitTimeout(mqttTimeout) && t.Error() != nil {
		return fmt.Errorf("mqtt: publish: %w", t.Error())
	}
	return nil
}

// Ready implements [Source].
func (m *MQTT) Ready() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.client == nil || !m.client.IsConnectionOpen() {
		return errNotConnected
	}
	return nil
}

// keep holds a connection with a subscription.
func (m *MQTT) keep(ctx context.Context) {
	defer close(m.done)
	var f func(string, []byte)
	select {
	case f = <-m.start:
	case <-ctx.Done():
		return
	}
	pause, first := mqttPauseMin, true
	for ctx.Err() == nil {
		lost := make(chan error, 1)
		c, err := m.connect(f, lost)
		if err == nil {
			m.log.Info("connected to the broker", "server", m.server)
			pause = mqttPauseMin
			m.set(c)
			if first {
				first = false
				close(m.up)
			}
			select {
			case err = <-lost:
			case <-ctx.Done():
			}
			m.set(nil)
			c.Disconnect(mqttQuiesce)
		}
		if ctx.Err() != nil {
			return
		}
		m.log.Warn("no connection to the broker", "server", m.server, "error", err)
		if !sleep(ctx, mqttPauseMin/2+rand.N(pause)) {
			return
		}
		pause = min(2*pause, mqttPauseMax)
	}
}

func (m *MQTT) set(c mqtt.Client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.client = c
}

func (m *MQTT) connect(f func(string, []byte), lost chan<- error) (mqtt.Client, error) {
	c := mqtt.NewClient(mqtt.NewClientOptions().
		AddBroker("tcp://" + m.server).SetClientID("fengsui-" + m.id).SetProtocolVersion(4).
		SetCleanSession(true).SetAutoReconnect(false).SetConnectRetry(false).SetOrderMatters(true).
		SetConnectTimeout(mqttTimeout).SetWriteTimeout(mqttTimeout).
		SetKeepAlive(mqttKeepAlive).SetPingTimeout(mqttTimeout).
		SetConnectionLostHandler(func(_ mqtt.Client, err error) { lost <- err }))
	if t := c.Connect(); !t.WaitTimeout(2*mqttTimeout) || t.Error() != nil {
		c.Disconnect(0)
		return nil, errors.Join(errors.New("connect"), t.Error())
	}
	t := c.Subscribe("$share/"+group+"/"+wire.UpFilter, 1, func(_ mqtt.Client, msg mqtt.Message) {
		f(msg.Topic(), msg.Payload())
	})
	if !t.WaitTimeout(mqttTimeout) || t.Error() != nil {
		c.Disconnect(0)
		return nil, errors.Join(errors.New("subscribe"), t.Error())
	}
	return c, nil
}
