package group

import (
	"context"
	"errors"
	"fmt"
	"net"

	"golang.org/x/net/ipv4"

	"github.com/fengsui/fengsui/firmware/wire"
)

// A Conn is the local network: what is sent to the group is heard there.
type Conn struct {
	in  *net.UDPConn
	out *net.UDPConn
	to  []*net.UDPAddr
}

// Listen joins a multicast group, ADDRESS:PORT in IPv4, on an interface, or on
// the system's choice for "". What is sent goes there and to the peers.
func Listen(address, ifname string, peers []string) (*Conn, error) {
	at, err := net.ResolveUDPAddr("udp4", address)
	if err != nil {
		return nil, fmt.Errorf("group: %w", err)
	}
	var ifi *net.Interface
	if ifname != "" {
		if ifi, err = net.InterfaceByName(ifname); err != nil {
			return nil, fmt.Errorf("group: interface %q: %w", ifname, err)
		}
	}
	c := &Conn{to: []*net.UDPAddr{at}}
	for _, p := range peers {
		a, err := net.ResolveUDPAddr("udp4", p)
		if err != nil {
			return nil, fmt.Errorf("group: peer %q: %w", p, err)
		}
		c.to = append(c.to, a)
	}
	if c.in, err = net.ListenMulticastUDP("udp4", ifi, at); err != nil {
		return nil, fmt.Errorf("group: %w", err)
	}
	if c.out, err = net.ListenUDP("udp4", nil); err != nil {
		return nil, errors.Join(fmt.Errorf("group: %w", err), c.in.Close())
	}
	p := ipv4.NewPacketConn(c.out)
	err = p.SetMulticastTTL(1) // the local network and no further
	if ifi != nil && err == nil {
		err = p.SetMulticastInterface(ifi)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("group: %w", err), c.Close())
	}
	return c, nil
}

// Run calls take for each datagram that comes, until ctx ends, and closes the
// Conn. The bytes are take's to keep.
func (c *Conn) Run(ctx context.Context, take func(msg []byte)) error {
	defer context.AfterFunc(ctx, func() { c.Close() })()
	b := make([]byte, wire.MaxGroupPacket+1)
	for {
		n, _, err := c.in.ReadFromUDPAddrPort(b)
		if err != nil {
			return errors.Join(fmt.Errorf("group: %w", err), ignoreClosed(c.Close()))
		}
		if n <= wire.MaxGroupPacket {
			take(append([]byte(nil), b[:n]...))
		}
	}
}

// Send sends a datagram to the group and to each peer. The error is that of all
// that did not go.
func (c *Conn) Send(msg []byte) error {
	var errs error
	for _, to := range c.to {
		if _, err := c.out.WriteToUDP(msg, to); err != nil {
			errs = errors.Join(errs, fmt.Errorf("group: to %v: %w", to, err))
		}
	}
	return errs
}

// Close leaves the network; Run ends.
func (c *Conn) Close() error { return errors.Join(c.in.Close(), c.out.Close()) }

func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
