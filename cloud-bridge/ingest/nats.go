package ingest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// NATS is a [Source] on a NATS server that is the devices' MQTT broker: the
// one within this process, or one of a cluster. MQTT topics are NATS subjects
// there. Alarms have a connection of their own, so that they are not behind
// whatever else is on its way.
type NATS struct{ conn, alarms *nats.Conn }

// NewNATS connects to a server within this process.
func NewNATS(server nats.InProcessConnProvider) (*NATS, error) {
	conn, err := nats.Connect("", nats.InProcessServer(server), nats.Name("ingest"), nats.MaxReconnects(-1))
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	alarms, err := nats.Connect("", nats.InProcessServer(server), nats.Name("alarms"), nats.MaxReconnects(-1))
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("nats: %w", err)
	}
	return &NATS{conn, alarms}, nil
}

// Close ends the subscriptions and the connections.
func (n *NATS) Close() {
	n.alarms.Close()
	n.conn.Close()
}

// Subscribe implements [Source]; it is in force when it returns.
func (n *NATS) Subscribe(f func(topic string, payload []byte)) error {
	const all, alarm = "fs.v1.*.up.*", ".up.alarm"
	// A message goes to one subscription of each group.
	err := subscribe(n.alarms, "fs.v1.*"+alarm, group+"-alarms", func(m *nats.Msg) {
		f(strings.ReplaceAll(m.Subject, ".", "/"), m.Data)
	})
	if err == nil {
		err = subscribe(n.conn, all, group, func(m *nats.Msg) {
			if !strings.HasSuffix(m.Subject, alarm) {
				f(strings.ReplaceAll(m.Subject, ".", "/"), m.Data)
			}
		})
	}
	if err != nil {
		return fmt.Errorf("nats: subscribe: %w", err)
	}
	return nil
}

func subscribe(c *nats.Conn, subject, group string, f nats.MsgHandler) error {
	if _, err := c.QueueSubscribe(subject, group, f); err != nil {
		return err
	}
	return c.Flush()
}

// Publish implements [Source].
func (n *NATS) Publish(topic string, payload []byte) error {
	if err := n.conn.Publish(strings.ReplaceAll(topic, "/", "."), payload); err != nil {
		return fmt.Errorf("nats: publish: %w", err)
	}
	return nil
}

// Ready implements [Source].
func (n *NATS) Ready() error {
	if !n.conn.IsConnected() || !n.alarms.IsConnected() {
		return errors.New("not connected to the NATS server")
	}
	return nil
}
