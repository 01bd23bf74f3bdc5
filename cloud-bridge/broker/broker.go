// Package broker runs an MQTT 3.1.1 broker inside the centre, so that nothing
// needs to be set up: nats-server with its MQTT listener, and
// in-process NATS connections for the centre itself.
//
// It is a pipe and keeps nothing that matters. It stores no event, checks no
// signature (package ingest does) and lets every client publish and subscribe.
// A client's CONNECT is answered only after [Broker.Accept], so that no
// message comes before somebody listens.
package broker

import (
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	startTimeout = 20 * time.Second
	startStep    = 100 * time.Millisecond
	// gateTimeout is less than nats-server's own limit for authentication, 2 s.
	gateTimeout = 1500 * time.Millisecond
	maxMessage  = 1 << 20 // larger than any message of the contract, so that those are refused by name
)

// A Broker is running until Stop.
type Broker struct {
	server  *server.Server
	address string
	gate    *gate
}

// Start starts a broker that listens for MQTT at address, host:port; port 0
// takes a free one. NATS itself listens nowhere. It keeps its sessions in
// memory; dir is a folder that nats-server wants to have, and is emptied.
// Clients are let in by [Broker.Accept].
func Start(dir, address string, log *slog.Logger) (*Broker, error) {
	host, p, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("broker: address %q: want host:port", address)
	}
	port, err := strconv.Atoi(p)
	if err != nil || port < 0 || port > 65535 {
		return nil, fmt.Errorf("broker: address %q: port %q: want 0 to 65535", address, p)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	if host == "" {
		host = "0.0.0.0"
	}
	if err := os.RemoveAll(filepath.Join(dir, "jetstream")); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	b := &Broker{gate: &gate{open: make(chan struct{})}}
	options := &server.Options{
		ServerName: "fengsui", DontListen: true, NoSigs: true, MaxPayload: maxMessage,
		JetStream: true, StoreDir: dir, JetStreamMaxMemory: memory, JetStreamMaxStore: 1 << 20,
		MQTT:                       server.MQTTOpts{Host: host, Port: port, ConsumerMemoryStorage: true},
		CustomClientAuthentication: b.gate,
	}
	if b.server, err = server.NewServer(options); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	l := &logger{log: log.With("part", "broker")}
	b.server.SetLoggerV2(l, false, false, false)
	b.server.Start()
	for waited := time.Duration(0); !b.server.ReadyForConnections(startStep); waited += startStep {
		why := l.fatal()
		if why == "" && waited < startTimeout {
			continue
		}
		b.Stop()
		if why == "" {
			why = fmt.Sprintf("not ready after %v", startTimeout)
		}
		return nil, fmt.Errorf("broker: %s", why)
	}
	if err := b.keepInMemory(); err != nil {
		b.Stop()
		return nil, err
	}
	b.address = net.JoinHostPort(host, strconv.Itoa(options.MQTT.Port)) // the server writes the port that it chose
	return b, nil
}

// Accept lets MQTT clients in. It is called when the subscriptions of the
// centre are in force; a second call does nothing.
func (b *Broker) Accept() { b.gate.once.Do(func() { close(b.gate.open) }) }

// Address returns where MQTT clients connect, host:port.
func (b *Broker) Address() string { return b.address }

// InProcessConn connects to the broker as a NATS client, without a socket.
func (b *Broker) InProcessConn() (net.Conn, error) { return b.server.InProcessConn() }

// Stop disconnects everybody and returns when nothing of the broker runs.
func (b *Broker) Stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

// gate answers CONNECT packets from the network when it is open. Connections
// within the process pass.
type gate struct {
	open chan struct{}
	once sync.Once
}

// Check implements nats-server's Authentication.
func (g *gate) Check(c server.ClientAuthentication) bool {
	if _, network := c.RemoteAddress().(*net.TCPAddr); !network {
		return true
	}
	select {
	case <-g.open:
		return true
	case <-time.After(gateTimeout):
		return false
	}
}

// logger passes nats-server's log on, its notices as debug messages.
type logger struct {
	log  *slog.Logger
	mu   sync.Mutex
	died string
}

func (l *logger) fatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.died
}

func (l *logger) Noticef(f string, v ...any) { l.log.Debug(fmt.Sprintf(f, v...)) }
func (l *logger) Warnf(f string, v ...any)   { l.log.Warn(fmt.Sprintf(f, v...)) }
func (l *logger) Errorf(f string, v ...any)  { l.log.Error(fmt.Sprintf(f, v...)) }
func (l *logger) Debugf(string, ...any)      {}
func (l *logger) Tracef(string, ...any)      {}

// Fatalf must not end the process: Start reports it.
func (l *logger) Fatalf(f string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.died == "" {
		l.died = fmt.Sprintf(f, v...)
	}
}
