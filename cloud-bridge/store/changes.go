package store

import "sync"

// A ChangeKind says what kind of thing changed.
type ChangeKind string

// The kinds of change.
const (
	IncidentChanged ChangeKind = "incident" // ID is the incident's
	DeviceChanged   ChangeKind = "device"   // Device is its id
	RefusedChanged  ChangeKind = "refused"
	TroubleChanged  ChangeKind = "trouble"
	NoticeChanged   ChangeKind = "notice" // Device has another pending notice or level, or one fewer
	UnitChanged     ChangeKind = "unit"   // Device is a unit that is sent, taken back, or set by the desk
	GridChanged     ChangeKind = "grid"
	GroupChanged    ChangeKind = "group"
	DrillChanged    ChangeKind = "drill" // Device is in another mode, or is to be
	RosterChanged   ChangeKind = "roster"
	RoundChanged    ChangeKind = "round" // somebody checked in, or nobody did in time
)

// A Change says that something is not as it was. Read it again from the store.
type Change struct {
	Kind     ChangeKind
	Incident int64
	Device   string
}

// watchers spreads changes. A watcher that does not keep up is cut off, so
// that a commit never waits for one.
type watchers struct {
	mu     sync.Mutex
	all    map[*Watcher]struct{}
	closed bool
}

// A Watcher receives the changes after its making.
type Watcher struct {
	c  chan Change
	of *watchers
}

// Changes returns the channel of changes. It is closed when the watcher fell
// behind, or the store was closed: watch again and read everything anew.
func (w *Watcher) Changes() <-chan Change { return w.c }

// Close ends the watching. It may be called twice.
func (w *Watcher) Close() {
	w.of.mu.Lock()
	defer w.of.mu.Unlock()
	w.of.drop(w)
}

// Watch returns a new watcher that may be at most buffer changes behind.
func (s *Store) Watch(buffer int) *Watcher {
	w := &Watcher{c: make(chan Change, max(buffer, 1)), of: &s.watchers}
	s.watchers.mu.Lock()
	defer s.watchers.mu.Unlock()
	if s.watchers.closed {
		close(w.c)
		return w
	}
	if s.watchers.all == nil {
		s.watchers.all = make(map[*Watcher]struct{})
	}
	s.watchers.all[w] = struct{}{}
	return w
}

// drop closes w's channel once. The caller holds mu.
func (ws *watchers) drop(w *Watcher) {
	if _, ok := ws.all[w]; ok {
		delete(ws.all, w)
		close(w.c)
	}
}

func (ws *watchers) tell(changes []Change) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	for w := range ws.all {
		for _, c := range changes {
			select {
			case w.c <- c:
				continue
			default:
			}
			ws.drop(w)
			break
		}
	}
}

func (ws *watchers) close() {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	ws.closed = true
	for w := range ws.all {
		ws.drop(w)
	}
}
