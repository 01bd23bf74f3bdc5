package uplink

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A link is one paho client, which lives for one connection.
type link struct {
	client mqtt.Client
	down   chan []byte // messages of the downlink
	lost   chan error  // why the connection ended

	mu   sync.Mutex
	conn net.Conn // nil until dialled
}

// A watched conn gives every write a limit, and tells when it has ended. paho
// limits publishes only: a peer that stops reading would hold a ping or a
// DISCONNECT for ever. And it calls its own handler of lost connections on a
// goroutine that nobody can wait for.
type watched struct {
	net.Conn
	lost chan error
}

func (w watched) Read(b []byte) (int, error) {
	n, err := w.Conn.Read(b)
	return n, w.note(err)
}

func (w watched) Write(b []byte) (int, error) {
	if err := w.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return 0, w.note(err)
	}
	n, err := w.Conn.Write(b)
	return n, w.note(err)
}

func (w watched) Close() error {
	w.note(net.ErrClosed) // by paho, if nothing else was noted before
	return w.Conn.Close()
}

func (w watched) note(err error) error {
	if err != nil {
		select {
		case w.lost <- err:
		default:
		}
	}
	return err
}

// dial connects to a broker and subscribes to the downlink. It leaves nothing
// behind when it fails.
func dial(ctx context.Context, o *Options, address string) (*link, error) {
	k := &link{down: make(chan []byte, 64), lost: make(chan error, 1)}
	opt := mqtt.NewClientOptions().
		AddBroker("tcp://" + address).
		SetClientID("fs-" + o.Device).
		SetProtocolVersion(4). // 3.1.1, and no silent fallback to 3.1
		SetCleanSession(true).
		SetAutoReconnect(false).
		SetConnectRetry(false).
		SetConnectTimeout(connectTimeout).
		SetWriteTimeout(writeTimeout).
		SetPingTimeout(writeTimeout).
		SetKeepAlive(keepAlive).
		SetOrderMatters(true). // the handler does not block, and so ends with its connection
		SetStore(mqtt.NewMemoryStore()).
		SetConnectionLostHandler(nil).
		SetCustomOpenConnectionFn(func(*url.URL, mqtt.ClientOptions) (net.Conn, error) {
			dctx, stop := context.WithTimeout(ctx, dialTimeout)
			defer stop()
			conn, err := o.Dial(dctx, address)
			if err != nil {
				return nil, err
			}
			conn = watched{conn, k.lost}
			k.mu.Lock()
			defer k.mu.Unlock()
			k.conn = conn
			return conn, nil
		})
	k.client = mqtt.NewClient(opt)
	// The token ends with Dial, with connectTimeout, or with the connection.
	abort := context.AfterFunc(ctx, k.cut)
	defer abort()
	t := k.client.Connect()
	<-t.Done()
	if err := t.Error(); err != nil {
		// Nothing runs that Disconnect could stop. It would wait, since the token
		// ends before the client's state does.
		k.cut()
		return nil, fmt.Errorf("connect: %w", err)
	}
	if err := k.subscribe(ctx, o.Device); err != nil {
		k.close(false)
		return nil, err
	}
	return k, nil
}

func (k *link) subscribe(ctx context.Context, device string) error {
	const denied = 0x80 // MQTT 3.1.1, section 3.9.3
	topic := wire.DownTopic(device)
	t := k.client.Subscribe(topic, 0, func(_ mqtt.Client, m mqtt.Message) {
		select {
		case k.down <- m.Payload():
		default: // everything on the downlink is repeated
		}
	})
	timer := time.NewTimer(connectTimeout)
	defer timer.Stop()
	select {
	case <-t.Done():
		err := t.Error()
		if st, ok := t.(*mqtt.SubscribeToken); ok && err == nil && st.Result()[topic] == denied {
			err = errors.New("the broker denies it")
		}
		if err != nil {
			return fmt.Errorf("subscribe to %s: %w", topic, err)
		}
		return nil
	case <-timer.C:
		return fmt.Errorf("subscribe to %s: no answer", topic)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publish hands a packet to paho and does not wait for a PUBACK. It blocks for
// at most writeTimeout, when the connection takes no more bytes.
func (k *link) publish(topic string, msg []byte) error {
	t := k.client.Publish(topic, 1, false, msg)
	select {
	case <-t.Done():
		if err := t.Error(); err != nil {
			return fmt.Errorf("publish: %w", err)
		}
	default:
	}
	return nil
}

// cut closes the connection under paho.
func (k *link) cut() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.conn != nil {
		k.conn.Close()
	}
}

// close ends the connection, in order if it is thought to work, and returns
// when paho's goroutines have stopped.
func (k *link) close(inOrder bool) {
	if !inOrder {
		k.cut()
	}
	late := time.AfterFunc(time.Second, k.cut)
	defer late.Stop()
	// Disconnect returns when it is done, or after its argument in milliseconds:
	// with 0 it would wait for nothing. After the cut it is soon done.
	k.client.Disconnect(2000)
}
