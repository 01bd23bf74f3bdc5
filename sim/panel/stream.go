package panel

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/fengsui/fengsui/sim/district"
)

const (
	// calm is the least time between two looks at the devices: shorter than a
	// lamp's flash.
	calm = 25 * time.Millisecond
	// refresh is how often a device is told though nothing changed but ages.
	refresh = 2 * time.Second
)

// stream answers with server-sent events until the reader goes or the panel is
// closed: hello with the desk's address, then every device, then each that
// changes.
func (p *Panel) stream(w http.ResponseWriter, r *http.Request) {
	poke, stop := p.d.Watch()
	defer stop()
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	tell := func(event string, v any) error {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		_ = control.SetWriteDeadline(time.Now().Add(10 * time.Second)) // where it is not there, the server's own limit holds
		_, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, b)
		return err
	}
	if tell("hello", map[string]string{"desk": p.d.Centre.URL()}) != nil {
		return
	}
	told := make(map[string]string)
	again := time.NewTicker(refresh)
	defer again.Stop()
	for {
		for _, v := range p.views() {
			key := fingerprintOf(v)
			if told[v.ID] == key {
				continue
			}
			told[v.ID] = key
			if tell("device", v) != nil {
				return
			}
		}
		if control.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-p.closed:
			return
		case <-again.C:
			clear(told)
			continue
		case <-poke:
		}
		select {
		case <-time.After(calm):
		case <-r.Context().Done():
			return
		}
	}
}

// fingerprintOf returns what a person would see of a device, without its ages.
func fingerprintOf(v district.View) string {
	if v.Lamps != nil {
		l := *v.Lamps
		l.ForMS = 0
		v.Lamps = &l
	}
	if v.Fix != nil {
		f := *v.Fix
		f.AgeMS = 0
		v.Fix = &f
	}
	b, err := json.Marshal(v)
	if err != nil {
		panic(err) // plain structs
	}
	return string(b)
}
