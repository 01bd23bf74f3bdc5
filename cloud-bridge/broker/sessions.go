package broker

import (
	"fmt"

	"github.com/nats-io/nats.go"
)

// Bounds of what the broker keeps in memory, bytes.
const (
	memory    = 128 << 20
	forOthers = 16 << 20 // for each of what sessions, QoS 1 subscriptions and retained messages may fill
)

// keepInMemory makes the streams in which nats-server keeps its MQTT sessions
// before it would make them as files (nats-server, server/mqtt.go). Nothing of
// them matters after a restart, for devices connect with clean sessions; and a
// file whose disk was full once refuses every session until a restart.
func (b *Broker) keepInMemory() error {
	conn, err := nats.Connect("", nats.InProcessServer(b), nats.Name("broker"))
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	defer conn.Close()
	js, err := conn.JetStream()
	if err != nil {
		return fmt.Errorf("broker: %w", err)
	}
	for _, c := range []nats.StreamConfig{
		{Name: "$MQTT_sess", Subjects: []string{"$MQTT.sess.>"}, MaxMsgsPerSubject: 1},
		{Name: "$MQTT_msgs", Subjects: []string{"$MQTT.msgs.>"}, Retention: nats.InterestPolicy, MaxBytes: forOthers},
		{
			Name: "$MQTT_qos2in", Subjects: []string{"$MQTT.qos2.in.>"}, MaxMsgsPerSubject: 1,
			Discard: nats.DiscardNew, DiscardNewPerSubject: true, MaxBytes: forOthers,
		},
		{Name: "$MQTT_out", Subjects: []string{"$MQTT.out.>"}, Retention: nats.InterestPolicy, MaxBytes: forOthers},
		{Name: "$MQTT_rmsgs", Subjects: []string{"$MQTT.rmsgs.>"}, MaxMsgsPerSubject: 1, MaxBytes: forOthers},
	} {
		c.Storage = nats.MemoryStorage
		if _, err := js.AddStream(&c); err != nil {
			return fmt.Errorf("broker: stream %s: %w", c.Name, err)
		}
	}
	return nil
}
