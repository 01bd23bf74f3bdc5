package ingest

// A Source carries messages between the devices and the centre. [NATS] and
// [MQTT] pass the same suite of tests.
type Source interface {
	// Subscribe has f called, from one or more goroutines, with each uplink
	// message (see [wire.UpFilter]) that arrives while the source is ready. Of
	// several sources of one centre, one gets a message. It is called once; f
	// does not block and keeps no payload.
	Subscribe(f func(topic string, payload []byte)) error
	// Publish sends a message with QoS 0: it may be lost, and an error only says
	// that it was not sent.
	Publish(topic string, payload []byte) error
	// Ready says why messages cannot arrive now, or nil.
	Ready() error
}

// group is shared by all programs of one centre: each message goes to one.
const group = "fengsui"
