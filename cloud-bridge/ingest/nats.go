package ingest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/nats-io/nats.go"
)

// NATS is a [Source] on a NATS server that is the devices' MQTT broker: the
// one within this process, or one of a cluster. MQTT topics are NATS subjects
// there.
type NATS struct{ conn *nats.Conn }

// NewNATS connects to a server within this process.
func NewNATS(server nats.InProcessConnProvider) (*NATS, error) {
	conn, err := nats.Connect("", nats.InProcessServer(server), nats.Name("ingest"), nats.MaxReconnects(-1))
	if err != nil {
		return nil, fmt.Errorf("nats: %w", err)
	}
	return &NATS{conn}, nil
}

// Close ends the subscription and the connection.
func (n *NATS) Close() { n.conn.Close() }

// Subscribe implements [Source]; it is in force when it returns.
func (n *NATS) Subscribe(f func(topic string, payload []byte)) error {
	_, err := n.conn.QueueSubscribe("fs.v1.*.up.*", group, func(m *nats.Msg) {
		f(strings.ReplaceAll(m.Subject, ".", "/"), m.Data)
	})
	if err == nil {
		err = n.conn.Flush()
	}
	if err != nil {
		return fmt.Errorf("nats: subscribe: %w", err)
	}
	return nil
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
	if !n.conn.IsConnected() {
		return errors.New("not connected to the NATS server")
	}
	return nil
}
