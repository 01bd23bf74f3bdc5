package console_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/fengsui/fengsui/cloud-bridge/console"
	"github.com/fengsui/fengsui/cloud-bridge/incident"
	"github.com/fengsui/fengsui/cloud-bridge/store"
	"github.com/fengsui/fengsui/firmware/wire"
)

// claim is what somebody does with an incident, and claimed what they were told.
type claim struct {
	step     string // "acknowledge", "take_over" or "read"
	by, from string
}

type claimed struct {
	ok    bool
	owner string // who has it: of a refusal, who was faster
}

// ownership is an incident's owner as one register: the first to acknowledge it has it; it
// is taken over only from whom it is in hands of; whoever is refused is told who has it.
var ownership = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		owner, in, out := state.(string), input.(claim), output.(claimed)
		switch in.step {
		case "acknowledge":
			if owner == "" {
				return out.ok && out.owner == in.by, in.by
			}
			return !out.ok && out.owner == owner, owner
		case "take_over":
			if owner != "" && owner == in.from && in.by != owner {
				return out.ok && out.owner == in.by, in.by
			}
			return !out.ok && out.owner == owner, owner
		}
		return out.ok && out.owner == owner, owner
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v → %+v", input, output) },
}

// race lets people claim one incident at once, over the API, and returns what each was told
// and when.
func race(w *world, id string, people []string, rounds int) []porcupine.Operation {
	var mu sync.Mutex
	var all []porcupine.Operation
	begun := time.Now()
	var desks sync.WaitGroup
	for client, by := range people {
		w.token(by)
		desks.Go(func() {
			seen := ""
			for n := range rounds {
				in := claim{step: "take_over", by: by, from: seen}
				switch {
				case n == 0:
					in = claim{step: "acknowledge", by: by}
				case n%3 == 2 || seen == by || seen == "":
					in = claim{step: "read", by: by}
				}
				call := time.Since(begun).Nanoseconds()
				out := w.claim(id, in)
				mu.Lock()
				all = append(all, porcupine.Operation{ClientId: client, Input: in, Call: call, Output: out, Return: time.Since(begun).Nanoseconds()})
				mu.Unlock()
				seen = out.owner
			}
		})
	}
	desks.Wait()
	return all
}

func (w *world) claim(id string, in claim) claimed {
	method, path, body := "POST", "/api/v1/incidents/"+id+"/"+in.step, fmt.Sprintf(`{"by":%q}`, in.by)
	switch in.step {
	case "take_over":
		body = fmt.Sprintf(`{"by":%q,"from":%q}`, in.by, in.from)
	case "read":
		method, path, body = "GET", "/api/v1/incidents/"+id, ""
	}
	r := httptest.NewRequestWithContext(w.t.Context(), method, path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	w.as(local(r), body)
	answer := httptest.NewRecorder()
	w.desk.ServeHTTP(answer, r)
	var told struct{ Owner, By string }
	if err := json.Unmarshal(answer.Body.Bytes(), &told); err != nil {
		w.t.Errorf("%s: %v", answer.Body, err)
	}
	switch answer.Code {
	case http.StatusOK:
		return claimed{true, told.Owner}
	case http.StatusConflict:
		return claimed{false, told.By}
	}
	w.t.Errorf("%s %s: %d %s", in.step, in.by, answer.Code, answer.Body)
	return claimed{}
}

// Two who claim one incident at once: one has it, the others are told who. Every history
// of the real API and store is one that a single register could have.
func TestClaimsAreLinearizable(t *testing.T) {
	for n := range 5 {
		w := newWorld(t, nil)
		w.press("box-01", wire.Panic, 0)
		history := race(w, "1", []string{"Li", "Wang", "Zhao", "Qian"}, 8)
		switch result, info := porcupine.CheckOperationsVerbose(ownership, history, 20*time.Second); result {
		case porcupine.Illegal:
			t.Fatalf("run %d: no register has this history: %+v\n%d partial", n, history, len(info.PartialLinearizations()))
		case porcupine.Unknown:
			t.Logf("run %d: not decided in time", n)
		}
		wins := 0
		for _, o := range history {
			if o.Input.(claim).step == "acknowledge" && o.Output.(claimed).ok {
				wins++
			}
		}
		if wins != 1 {
			t.Fatalf("%d people have acknowledged it", wins)
		}
	}
}

// careless is the store without its protection: it decides by what it read before.
type careless struct {
	*store.Store
	mu   sync.Mutex
	read map[int64]string
}

func (c *careless) Take(ctx context.Context, id int64, by incident.Actor, step incident.Step) (*incident.Incident, error) {
	i, err := c.Store.Incident(ctx, id)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if owner := c.read[id]; owner != "" {
		i.Owner = owner
	}
	c.mu.Unlock()
	for range 100 {
		runtime.Gosched() // what another does meanwhile is not seen
	}
	if err := i.Take(step, by, time.Now()); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.read[id] = i.Owner
	return i, nil
}

// The control: a store that reads, decides and then writes is found out.
func TestClaimsControl(t *testing.T) {
	w := newWorld(t, nil)
	desk, err := console.New(console.Options{Store: &careless{Store: w.db, read: make(map[int64]string)}, Accounts: w.accounts})
	if err != nil {
		t.Fatal(err)
	}
	defer desk.Close()
	w.desk = desk
	for range 10 {
		w.press("box-01", wire.Panic, 0)
		history := race(w, "1", []string{"Li", "Wang", "Zhao", "Qian"}, 6)
		if porcupine.CheckOperationsTimeout(ownership, history, 10*time.Second) == porcupine.Illegal {
			return
		}
	}
	t.Error("the mutant was not found: the test tests nothing")
}
