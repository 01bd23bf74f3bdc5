package uplink

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// needNetworks skips a test, aloud, where no networks can be made.
func needNetworks(t *testing.T) string {
	t.Helper()
	ip, err := exec.LookPath("ip")
	if err != nil {
		ip = "/usr/sbin/ip"
	}
	out, err := exec.Command(ip, "netns", "add", netName("try")).CombinedOutput()
	if err == nil {
		out, err = exec.Command(ip, "netns", "del", netName("try")).CombinedOutput()
	}
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("no network namespaces: %v %s (they want root, and Debian's iproute2)", err, out)
		}
		t.Skipf("not run: no network namespaces: %v %s (they want root, and Debian's iproute2)", err, out)
	}
	return ip
}

func netName(what string) string { return fmt.Sprintf("fs%d%s", os.Getpid(), what) }

// A box has two networks. The kernel prefers the first, at whose end somebody takes
// everything and passes on nothing; the centre is behind the second.
func TestTheKernelPrefersADeadNetwork(t *testing.T) {
	const centre = "10.99.0.1:1883"
	if os.Getenv("OVER_CHILD") != "" { // in the box
		for _, cards := range [][]string{nil, {"va", "vb"}} {
			limit := dialTimeout
			if cards == nil {
				limit = time.Second
			}
			ctx, stop := context.WithTimeout(t.Context(), limit)
			began := time.Now()
			conn, err := Over(cards, nil)(ctx, centre)
			took := time.Since(began)
			stop()
			switch {
			case cards == nil && err == nil:
				t.Error("the kernel's way reached the centre: the networks are not as they should be")
			case cards != nil && err != nil:
				t.Errorf("over %q: %v after %v", cards, err, took)
			case cards != nil:
				if from := conn.LocalAddr().String(); !strings.HasPrefix(from, "10.2.0.2:") {
					t.Errorf("reached from %s: want the second network", from)
				}
				conn.Close()
			}
		}
		return
	}
	ip := needNetworks(t)
	box, dead, live := netName("box"), netName("dead"), netName("live")
	do := func(args string) {
		t.Helper()
		if out, err := exec.Command(ip, strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", args, err, out)
		}
	}
	for _, n := range []string{box, dead, live} {
		do("netns add " + n)
		t.Cleanup(func() { _ = exec.Command(ip, "netns", "del", n).Run() })
	}
	for _, l := range []struct{ card, at, with, peer, gateway, metric string }{
		{"va", "10.1.0.2/24", dead, "10.1.0.1/24", "10.1.0.1", "1"},
		{"vb", "10.2.0.2/24", live, "10.2.0.1/24", "10.2.0.1", "5"},
	} {
		do("-n " + box + " link add " + l.card + " type veth peer name peer0 netns " + l.with)
		do("-n " + box + " addr add " + l.at + " dev " + l.card)
		do("-n " + box + " link set " + l.card + " up")
		do("-n " + l.with + " addr add " + l.peer + " dev peer0")
		do("-n " + l.with + " link set peer0 up")
		do("-n " + box + " route add default via " + l.gateway + " dev " + l.card + " metric " + l.metric)
	}
	do("-n " + live + " link set lo up")
	do("-n " + live + " addr add 10.99.0.1/32 dev lo")
	l, err := listenIn(live, centre)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), ip, "netns", "exec", box, self, "-test.run=^"+t.Name()+"$", "-test.v")
	child.Env = append(os.Environ(), "OVER_CHILD=1")
	if out, err := child.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// listenIn listens in a network namespace.
func listenIn(name, address string) (l net.Listener, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err = enter(name); err == nil {
			l, err = net.Listen("tcp", address)
		}
	}()
	<-done
	return l, err
}

// enter moves this goroutine's thread into a network namespace; the thread ends with
// the goroutine.
func enter(name string) error {
	runtime.LockOSThread()
	f, err := os.Open("/run/netns/" + name)
	if err != nil {
		return err
	}
	defer f.Close()
	return unix.Setns(int(f.Fd()), unix.CLONE_NEWNET)
}
