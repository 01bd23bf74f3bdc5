package doctor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/firmware/agent"
	"github.com/fengsui/fengsui/firmware/config"
	"github.com/fengsui/fengsui/firmware/modem"
)

// weak is the received power in dBm below which a message may not get through:
// two of the five bars that telephones show of LTE begin there.
const weak = -110

// modem waits until the modem is registered with a network, and for its signal.
// Messages that lie on its SIM stay there, for the agent.
func (s *session) modem(ctx context.Context) outcome {
	c := s.Config.Modem
	if c == nil {
		return found(Absent, "not_configured")
	}
	ports, err := s.one(func(one *config.Config) { one.Modem = c })
	if err != nil {
		return failed("modem_lost", err)
	}
	port, err := ports.Modem(ctx)
	if err != nil {
		return failed("port_shut", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	states, ended := make(chan modem.State, 16), make(chan error, 1)
	go func() {
		ended <- modem.New(modem.Options{
			PIN: c.PIN, PINs: agent.SIMTries(s.Config, s.Log), Log: s.Log, OnSMS: func(string, []byte) bool { return false },
			OnState: func(st modem.State) {
				select {
				case states <- st:
				case <-ctx.Done():
				}
			},
		}).Run(ctx, port)
	}()
	over := false
	defer func() {
		cancel()
		if !over {
			<-ended
		}
	}()
	last, err := modem.State{}, error(modem.ErrLost)
	for {
		select {
		case last = <-states:
			if err = last.Err(); err == nil {
				return signal(last)
			}
			if !errors.Is(err, modem.ErrNotRegistered) { // that may take a while; a SIM does not come
				return failed("sim_bad", err)
			}
		case err := <-ended:
			over = true
			if err == nil {
				err = modem.ErrLost
			}
			return failed("modem_lost", err)
		case <-ctx.Done():
			if errors.Is(err, modem.ErrNotRegistered) {
				return found(Fail, "no_network")
			}
			return failed("modem_lost", err)
		}
	}
}

func signal(st modem.State) outcome {
	values := []string{"operator", st.Operator, "rat", st.RAT, "dbm", fmt.Sprint(st.SignalDBm)}
	if st.SignalDBm != 0 && st.SignalDBm < weak {
		return found(Fail, "signal_weak", values...)
	}
	return found(Pass, "signal_good", values...)
}

// modemWithin is how long a modem may take to find a network.
const modemWithin = 90 * time.Second
