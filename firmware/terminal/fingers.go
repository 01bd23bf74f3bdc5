package terminal

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fengsui/fengsui/firmware/fingerprint"
	"github.com/fengsui/fengsui/firmware/fingers"
)

// Fingers is what a [Device] with a fingerprint reader can do besides: fingers
// are enrolled and deleted at its screen, by a supervisor's or technician's
// leave. Its methods may be called by several goroutines; progress is told one
// call at a time. Errors wrap one of package fingers or of package fingerprint.
type Fingers interface {
	// Authorise waits for a finger that may allow changes, unless they are allowed.
	Authorise(ctx context.Context, progress func(fingerprint.Progress)) error
	// Allowed returns who allows changes now, or "", and for how long; 0 is as
	// long as the technician's key is turned.
	Allowed(ctx context.Context) (by string, left time.Duration, err error)
	// Leave ends what a finger has allowed.
	Leave(ctx context.Context) error
	// List compares the device's list with the sensor's.
	List(ctx context.Context) (fingers.Listing, error)
	// Enrol enrols a finger and returns its slot.
	Enrol(ctx context.Context, q fingers.Request, progress func(fingerprint.Progress)) (slot int, err error)
	// Delete deletes a finger, or a template that is nobody's.
	Delete(ctx context.Context, slot int, progress func(fingerprint.Progress)) error
	// Adopt takes the sensor that was put in the place of the device's own, and
	// empties the list.
	Adopt(ctx context.Context) error
}

// fingersView is what the page shows of fingers. List is null unless somebody
// who may allow changes has just laid a finger, and the page was opened.
type fingersView struct {
	By      string       `json:"by"`     // who allows changes; "" without List
	LeftS   int          `json:"left_s"` // 0: as long as the key is turned
	Step    string       `json:"step"`   // of what is going on, see fingerprint.Step; "" while nothing is
	Library int          `json:"library"`
	List    []fingerView `json:"list"`
}

type fingerView struct {
	Slot    int    `json:"slot"`
	Officer string `json:"officer"` // "": a template that is nobody's
	Role    string `json:"role"`
	Duress  bool   `json:"duress"`
	Config  bool   `json:"config"` // the configuration names it
	Empty   bool   `json:"empty"`  // the sensor does not have it
}

// clerk is what a Terminal keeps of fingers.
type clerk struct {
	mu      sync.Mutex
	step    string
	open    bool
	listing fingers.Listing
}

func (t *Terminal) handleFingers(mux *http.ServeMux) {
	mux.HandleFunc("POST /api/fingers/open", t.atReader(func(ctx context.Context, _ *http.Request, _ []byte) (any, error) {
		if err := t.opt.Fingers.Authorise(ctx, t.progress); err != nil {
			return nil, err
		}
		return nil, t.readFingers(ctx)
	}))
	mux.HandleFunc("POST /api/fingers/enrol", t.atReader(t.enrol))
	mux.HandleFunc("POST /api/fingers/{slot}/delete", t.atReader(func(ctx context.Context, r *http.Request, _ []byte) (any, error) {
		slot, err := strconv.Atoi(r.PathValue("slot"))
		if err != nil || slot < 0 {
			return nil, &FieldError{"slot", shorten(r.PathValue("slot")), "a slot's number"}
		}
		err = t.opt.Fingers.Delete(ctx, slot, t.progress)
		return nil, errors.Join(err, t.readFingers(ctx))
	}))
	mux.HandleFunc("POST /api/fingers/adopt", t.atReader(func(ctx context.Context, _ *http.Request, _ []byte) (any, error) {
		return nil, t.opt.Fingers.Adopt(ctx)
	}))
	mux.HandleFunc("POST /api/fingers/close", t.do(func(r *http.Request, _ []byte) (any, error) {
		if t.opt.Fingers == nil {
			return nil, fingers.ErrNoReader
		}
		return nil, t.closeFingers(r.Context())
	}))
}

// atReader answers with what f returns, however long people take. A page that
// goes ends what f does.
func (t *Terminal) atReader(f func(ctx context.Context, r *http.Request, body []byte) (any, error)) http.HandlerFunc {
	do := t.do(func(r *http.Request, body []byte) (any, error) {
		if t.opt.Fingers == nil {
			return nil, fingers.ErrNoReader
		}
		defer t.progress(fingerprint.Progress{})
		return f(r.Context(), r, body)
	})
	return func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetReadDeadline(time.Time{}); err != nil && !errors.Is(err, http.ErrNotSupported) {
			t.opt.Log.Debug("terminal: fingers", "err", err)
		}
		do(w, r)
	}
}

// progress shows a step; none once all is done.
func (t *Terminal) progress(p fingerprint.Progress) {
	t.fingers.mu.Lock()
	defer t.fingers.mu.Unlock()
	t.fingers.step = ""
	if p.Step != 0 {
		t.fingers.step = p.Step.String()
	}
}

func (t *Terminal) enrol(ctx context.Context, _ *http.Request, body []byte) (any, error) {
	var m struct {
		Officer, Role string
		Duress        bool
	}
	if err := members(body, &m); err != nil {
		return nil, err
	}
	q := fingers.Request{Slot: fingers.AnySlot, Officer: strings.TrimSpace(m.Officer), Role: fingers.Role(m.Role), Duress: m.Duress}
	if _, err := fingers.ParseRole(m.Role); err != nil {
		return nil, &FieldError{"role", shorten(m.Role), "officer, supervisor or technician"}
	}
	if err := (fingers.Finger{Officer: q.Officer, Role: q.Role}).Validate(); err != nil {
		return nil, &FieldError{"officer", shorten(m.Officer), "an officer's id of 1 to 64 bytes, such as P-1001"}
	}
	slot, err := t.opt.Fingers.Enrol(ctx, q, t.progress)
	if err = errors.Join(err, t.readFingers(ctx)); err != nil {
		return nil, err
	}
	return map[string]int{"slot": slot}, nil
}

// readFingers reads the list anew.
func (t *Terminal) readFingers(ctx context.Context) error {
	l, err := t.opt.Fingers.List(ctx)
	if err != nil {
		return err
	}
	t.fingers.mu.Lock()
	defer t.fingers.mu.Unlock()
	t.fingers.open, t.fingers.listing = true, l
	return nil
}

func (t *Terminal) closeFingers(ctx context.Context) error {
	t.fingers.mu.Lock()
	t.fingers.open, t.fingers.listing = false, fingers.Listing{}
	t.fingers.mu.Unlock()
	return t.opt.Fingers.Leave(ctx)
}

// viewFingers returns what is shown of fingers; nil for a device without a
// reader.
func (t *Terminal) viewFingers(ctx context.Context) (*fingersView, error) {
	if t.opt.Fingers == nil {
		return nil, nil
	}
	by, left, err := t.opt.Fingers.Allowed(ctx)
	if err != nil {
		return nil, err
	}
	t.fingers.mu.Lock()
	defer t.fingers.mu.Unlock()
	v := &fingersView{Step: t.fingers.step}
	if by == "" || !t.fingers.open {
		return v, nil
	}
	l := t.fingers.listing
	v.By, v.LeftS, v.Library, v.List = by, int(math.Ceil(left.Seconds())), l.Library, []fingerView{}
	for _, slot := range slices.Sorted(maps.Keys(l.Fingers)) {
		f := l.Fingers[slot]
		v.List = append(v.List, fingerView{
			Slot: slot, Officer: f.Officer, Role: string(f.Role), Duress: f.Duress,
			Config: f.By == fingers.ByConfig, Empty: slices.Contains(l.Empty, slot),
		})
	}
	for _, slot := range l.Nobodys {
		v.List = append(v.List, fingerView{Slot: slot})
	}
	slices.SortFunc(v.List, func(a, b fingerView) int { return a.Slot - b.Slot })
	return v, nil
}

// fingerCode returns what the page knows words for, and the status.
func fingerCode(err error) (code string, status int) {
	for _, c := range []struct {
		err    error
		code   string
		status int
	}{
		{fingers.ErrNotAuthorised, "not_authorised", http.StatusForbidden},
		{fingers.ErrNobodyMay, "nobody_may", http.StatusForbidden},
		{fingers.ErrKeyNotTurned, "key_not_turned", http.StatusForbidden},
		{fingers.ErrEnrolling, "enrolling", http.StatusConflict},
		{fingers.ErrNoReader, "no_reader", http.StatusServiceUnavailable},
		{fingerprint.ErrNotReady, "no_reader", http.StatusServiceUnavailable},
		{fingers.ErrConfigured, "configured", http.StatusConflict},
		{fingers.ErrNoFinger, "no_such_finger", http.StatusNotFound},
		{fingers.ErrNotReplaced, "not_replaced", http.StatusConflict},
		{fingerprint.ErrEnrolled, "enrolled", http.StatusConflict},
		{fingerprint.ErrCombine, "mismatch", http.StatusConflict},
		{fingerprint.ErrMismatch, "mismatch", http.StatusConflict},
		{fingerprint.ErrNobody, "nobody_laid", http.StatusRequestTimeout},
		{fingerprint.ErrLibraryFull, "library_full", http.StatusInsufficientStorage},
	} {
		if errors.Is(err, c.err) {
			return c.code, c.status
		}
	}
	return "", 0
}

// state returns all that the page shows.
func (t *Terminal) state(ctx context.Context) ([]byte, error) {
	v, err := t.opt.Device.View(ctx)
	if err != nil {
		return nil, err
	}
	s := page(v)
	if s.Fingers, err = t.viewFingers(ctx); err != nil {
		return nil, err
	}
	return json.Marshal(s)
}
