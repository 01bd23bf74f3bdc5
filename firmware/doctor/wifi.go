package doctor

import (
	"context"
	"fmt"
	"time"

	"github.com/fengsui/fengsui/firmware/wifi"
)

const (
	// weakRadio is the received power in dBm below which a wireless network comes
	// and goes: access points answer at their slowest from about 10 dB less.
	weakRadio = -75
	// wifiWithin is how long a radio may take to come into its network, with one
	// vain try before.
	wifiWithin = 40 * time.Second
	wifiPoll   = time.Second
)

// wifi waits until the radio is in its network, and for its signal. Whoever joins it
// is not disturbed.
func (s *session) wifi(ctx context.Context) outcome {
	var last *wifi.State
	for {
		if s.WiFi == nil {
			return found(Absent, "no_radio")
		}
		st, err := s.WiFi()
		switch {
		case err != nil:
			return failed("wifi_failed", err)
		case st == nil:
			return found(Absent, "no_radio")
		}
		if last = st; st.Condition == wifi.Joined {
			return radioSignal(st)
		}
		t := time.NewTimer(wifiPoll)
		select {
		case <-t.C:
			continue
		case <-ctx.Done():
			t.Stop()
		}
		switch last.Condition {
		case wifi.Away:
			return found(Fail, "wifi_away", "ssid", last.SSID)
		case wifi.Refused:
			return found(Fail, "wifi_refused", "ssid", last.SSID)
		case wifi.NoDriver, wifi.NoInterface:
			return found(Fail, "wifi_no_radio", "error", last.Error)
		case wifi.Failed:
			return found(Fail, "wifi_failed", "error", last.Error)
		}
		return found(Fail, "wifi_not_joined", "ssid", last.SSID)
	}
}

func radioSignal(st *wifi.State) outcome {
	values := []string{"ssid", st.SSID, "dbm", fmt.Sprint(st.SignalDBm), "mhz", fmt.Sprint(st.MHz)}
	if st.SignalDBm != 0 && st.SignalDBm < weakRadio {
		return found(Fail, "wifi_weak", values...)
	}
	return found(Pass, "wifi_good", values...)
}
