package virtboard

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"
)

// dial connects to a socket that QEMU makes as it starts.
func dial(ctx context.Context, path string) (net.Conn, error) {
	for {
		c, err := new(net.Dialer).DialContext(ctx, "unix", path)
		if err == nil {
			return c, nil
		}
		t := time.NewTimer(10 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, fmt.Errorf("%s: %w", path, errors.Join(err, context.Cause(ctx)))
		}
	}
}

// errGone means that the machine ended.
var errGone = errors.New("the machine has ended")

// A qtest speaks QEMU's qtest protocol (qemu.git, system/qtest.c): a command a
// line, answered by OK or FAIL; IRQ lines come in between.
type qtest struct {
	conn    net.Conn
	turn    sync.Mutex // one command at a time
	answers chan string
	gone    chan struct{} // closed when the connection ends
}

// newQtest calls irq for each edge of an intercepted line.
func newQtest(conn net.Conn, irq func(line int, high bool)) *qtest {
	q := &qtest{conn: conn, answers: make(chan string, 1), gone: make(chan struct{})}
	go func() {
		defer close(q.gone)
		for lines := bufio.NewScanner(conn); lines.Scan(); {
			f := strings.Fields(lines.Text())
			if len(f) == 3 && f[0] == "IRQ" {
				if n, err := strconv.Atoi(f[2]); err == nil {
					irq(n, f[1] == "raise")
				}
				continue
			}
			q.answers <- lines.Text()
		}
	}()
	return q
}

// do sends a command and waits for its answer.
func (q *qtest) do(format string, a ...any) error {
	q.turn.Lock()
	defer q.turn.Unlock()
	command := fmt.Sprintf(format, a...)
	if _, err := fmt.Fprintln(q.conn, command); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	select {
	case s := <-q.answers:
		if !strings.HasPrefix(s, "OK") {
			return fmt.Errorf("qtest: %s: %s", command, s)
		}
		return nil
	case <-q.gone:
		return errGone
	}
}

// A qmp speaks QEMU's machine protocol (docs/interop/qmp-spec).
type qmp struct {
	conn    net.Conn
	turn    sync.Mutex
	answers chan qmpAnswer
	gone    chan struct{}
}

type qmpAnswer struct {
	Return json.RawMessage `json:"return"`
	Error  *struct {
		Desc string `json:"desc"`
	} `json:"error"`
	Event string `json:"event"`
}

// newQMP calls event for each of the machine's events.
func newQMP(conn net.Conn, event func(name string)) (*qmp, error) {
	q := &qmp{conn: conn, answers: make(chan qmpAnswer, 1), gone: make(chan struct{})}
	go func() {
		defer close(q.gone)
		for d := json.NewDecoder(conn); ; {
			var a qmpAnswer
			if err := d.Decode(&a); err != nil {
				return
			}
			switch {
			case a.Event != "":
				event(a.Event)
			case a.Return != nil || a.Error != nil: // not the greeting
				q.answers <- a
			}
		}
	}()
	return q, q.do("qmp_capabilities", nil, nil)
}

// do sends a command and decodes what it returns into out, unless out is nil.
func (q *qmp) do(command string, args map[string]any, out any) error {
	q.turn.Lock()
	defer q.turn.Unlock()
	m := map[string]any{"execute": command}
	if args != nil {
		m["arguments"] = args
	}
	if err := json.NewEncoder(q.conn).Encode(m); err != nil {
		return fmt.Errorf("%w: %w", errGone, err)
	}
	select {
	case a := <-q.answers:
		if a.Error != nil {
			return fmt.Errorf("qmp: %s: %s", command, a.Error.Desc)
		}
		if out == nil {
			return nil
		}
		return json.Unmarshal(a.Return, out)
	case <-q.gone:
		return errGone
	}
}

// child returns the path of the machine's first device of a type.
func (q *qmp) child(kind string) (string, error) {
	const folder = "/machine/unattached"
	var list []struct{ Name, Type string }
	if err := q.do("qom-list", map[string]any{"path": folder}, &list); err != nil {
		return "", err
	}
	for _, c := range list {
		if c.Type == "child<"+kind+">" {
			return folder + "/" + c.Name, nil
		}
	}
	return "", fmt.Errorf("qmp: the machine has no %s", kind)
}
