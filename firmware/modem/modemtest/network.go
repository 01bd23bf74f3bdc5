package modemtest

import (
	"errors"
	"slices"
	"sync"
)

// ErrNoService means that a number has no network now.
var ErrNoService = errors.New("no network service")

// A Network carries SMS between numbers, as a service centre does: what is for
// a number without service waits until that has some.
type Network struct {
	mu    sync.Mutex
	ends  map[string]*end
	twice bool
	sent  []Message
}

type end struct {
	deliver func(from string, data []byte)
	cut     bool
	waits   []Message
}

// A Message is one that a network took.
type Message struct {
	From, To string
	Data     []byte
}

// NewNetwork returns a network without numbers.
func NewNetwork() *Network { return &Network{ends: make(map[string]*end)} }

func (n *Network) end(number string) *end {
	e := n.ends[number]
	if e == nil {
		e = new(end)
		n.ends[number] = e
	}
	return e
}

// Attach has messages for a number delivered, by a goroutine of its own each;
// a later call takes the earlier one's place.
func (n *Network) Attach(number string, deliver func(from string, data []byte)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.end(number).deliver = deliver
	n.flush(number)
}

// Cut takes a number's service away, or gives it back.
func (n *Network) Cut(number string, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.end(number).cut = cut
	n.flush(number)
}

// Serves reports whether a number has service.
func (n *Network) Serves(number string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.end(number).cut
}

// Twice has every message delivered two times, as networks do now and then.
func (n *Network) Twice(on bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.twice = on
}

// Send takes a message. The error wraps [ErrNoService] when its sender has none.
func (n *Network) Send(from, to string, data []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.end(from).cut {
		return ErrNoService
	}
	m := Message{from, to, slices.Clone(data)}
	n.sent = append(n.sent, m)
	e := n.end(to)
	e.waits = append(e.waits, m)
	if n.twice {
		e.waits = append(e.waits, m)
	}
	n.flush(to)
	return nil
}

// flush delivers what waits for a number. The caller holds mu.
func (n *Network) flush(number string) {
	e := n.end(number)
	if e.cut || e.deliver == nil {
		return
	}
	for _, m := range e.waits {
		go e.deliver(m.From, m.Data)
	}
	e.waits = nil
}

// Sent returns all messages that the network took, in their order.
func (n *Network) Sent() []Message {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.sent)
}
