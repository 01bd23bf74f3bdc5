// Package broker runs nats-server within the process as the MQTT 3.1.1 broker
// that devices connect to, for a centre that wants no other set-up.
//
// It keeps nothing that matters: an event that it has taken and lost is sent
// again, because only the centre's own commit is acknowledged to the device.
// It authenticates nobody; what devices send is believed by its signature.
package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startTimeout bounds the start, which makes JetStream's files.
const startTimeout = 20 * time.Second

// A Broker is a running broker. Make it with Start.
type Broker struct {
	srv     *server.Server
	address string
}

// Start runs a broker that keeps its sessions in dir and listens for MQTT at
// address, host:port; port 0 takes a free one. NATS itself listens nowhere.
func Start(dir, address string, log *slog.Logger) (*Broker, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("broker: address %q: want host:port", address)
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("broker: port %q: want 0 to 65535", portText)
	}
	// The server only logs that a port is taken; asking first gives an error.
	probe, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	address = probe.Addr().String()
	port = uint64(probe.Addr().(*net.TCPAddr).Port)
	if err := probe.Close(); err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "fengsui", DontListen: true, NoSigs: true,
		JetStream: true, StoreDir: dir, JetStreamMaxMemory: 64 << 20, JetStreamMaxStore: 1 << 30,
		MQTT: server.MQTTOpts{Host: host, Port: int(port)},
	})
	if err != nil {
		return nil, fmt.Errorf("broker: %w", err)
	}
	srv.SetLogger(logger{log.With("part", "broker")}, false, false)
	srv.Start()
	b := &Broker{srv: srv, address: address}
	if !srv.ReadyForConnections(startTimeout) {
		b.Stop()
		return nil, errors.New("broker: not ready in time; its log says why")
	}
	return b, nil
}

// Address returns where MQTT clients connect, host:port.
func (b *Broker) Address() string { return b.address }

// InProcessConn connects to the broker as a NATS client, without a socket.
func (b *Broker) InProcessConn() (net.Conn, error) { return b.srv.InProcessConn() }

// Running reports why the broker does not run, or nil.
func (b *Broker) Running() error {
	if !b.srv.Running() {
		return errors.New("the broker has stopped")
	}
	return nil
}

// Stop ends the broker and waits until it has ended.
func (b *Broker) Stop() {
	b.srv.Shutdown()
	b.srv.WaitForShutdown()
}

// logger passes on what the server finds worth a warning. A Fatal is one too:
// the server asks its logger to end the process, which is not a broker's to do.
type logger struct{ log *slog.Logger }

func (l logger) Noticef(string, ...any)         {}
func (l logger) Debugf(string, ...any)          {}
func (l logger) Tracef(string, ...any)          {}
func (l logger) Warnf(format string, a ...any)  { l.log.Warn(fmt.Sprintf(format, a...)) }
func (l logger) Errorf(format string, a ...any) { l.log.Error(fmt.Sprintf(format, a...)) }
func (l logger) Fatalf(format string, a ...any) { l.log.Error(fmt.Sprintf(format, a...)) }
