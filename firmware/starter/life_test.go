package starter

import (
	"testing"
	"testing/synctest"
	"time"
)

// A said is a word of a program, and when it comes after the one before.
type said struct {
	after time.Duration
	word  string
}

// repeat is a word again and again.
func repeat(times int, every time.Duration, word string) (out []said) {
	for range times {
		out = append(out, said{every, word})
	}
	return out
}

func TestAProgramLivesAsLongAsItSaysSo(t *testing.T) {
	const never = 365 * 24 * time.Hour
	refused := "EXTEND_TIMEOUT_USEC=300000000" // what the agent says while its disk refuses
	for name, c := range map[string]struct {
		words []said
		late  time.Duration // after the start
	}{
		"it never says anything":           {nil, startLimit},
		"it is ready, and hangs":           {[]said{{time.Minute, "READY=1"}}, time.Minute + feedLimit},
		"it lives for a day, and hangs":    {append([]said{{time.Minute, "READY=1"}}, repeat(8640, 10*time.Second, "WATCHDOG=1")...), time.Minute + 24*time.Hour + feedLimit},
		"its disk refuses for a day":       {append(repeat(2880, 30*time.Second, refused), said{10 * time.Second, "READY=1"}), 24*time.Hour + 10*time.Second + feedLimit},
		"it hangs while its disk refuses":  {repeat(20, 30*time.Second, refused), 10*time.Minute + 5*time.Minute},
		"it hangs when the disk takes it":  {append(repeat(20, 30*time.Second, refused), said{time.Second, "READY=1"}), 10*time.Minute + time.Second + feedLimit},
		"it asks for more when it is up":   {[]said{{time.Second, "READY=1"}, {time.Second, refused}}, time.Second + feedLimit},
		"it asks for less than is left":    {[]said{{time.Second, "EXTEND_TIMEOUT_USEC=1000000"}}, startLimit},
		"it asks for ever":                 {[]said{{time.Second, "EXTEND_TIMEOUT_USEC=9223372036854775807"}}, time.Second + longest},
		"it asks for nonsense":             {[]said{{time.Second, "EXTEND_TIMEOUT_USEC=soon"}, {time.Second, "EXTEND_TIMEOUT_USEC=-5"}, {time.Second, "STATUS=fine"}}, startLimit},
		"it is ready in the last moment":   {[]said{{startLimit - time.Second, "READY=1"}}, startLimit - time.Second + feedLimit},
		"it says so once, after the limit": {[]said{{startLimit + time.Second, refused}}, startLimit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLife(startLimit, feedLimit)
				defer l.stop()
				began := time.Now()
				late := func(within time.Duration) bool {
					select {
					case <-l.late():
						return true
					case <-time.After(within):
						return false
					}
				}
				for _, w := range c.words {
					if late(w.after) {
						if got := time.Since(began); got != c.late {
							t.Errorf("late after %v, want %v", got, c.late)
						}
						return
					}
					l.sign(w.word)
				}
				if !late(never) {
					t.Fatal("it is never late")
				}
				if got := time.Since(began); got != c.late {
					t.Errorf("late after %v, want %v", got, c.late)
				}
			})
		})
	}
	if newLife(0, 0).late() != nil {
		t.Error("a program that owes nothing is late")
	}
}

// A refused disk's signs keep the board from being started anew as well.
func TestTheWordsThatAreSignsOfLife(t *testing.T) {
	for word, want := range map[string]bool{
		"READY=1": true, "WATCHDOG=1": true, "EXTEND_TIMEOUT_USEC=300000000": true,
		"STATUS=the disk refuses the start": false, "EXTEND_TIMEOUT_USEC=": false, "EXTEND_TIMEOUT_USEC=0": false, "STOPPING=1": false, "": false,
	} {
		l := newLife(startLimit, feedLimit)
		if got := l.sign(word); got != want {
			t.Errorf("%q: %v, want %v", word, got, want)
		}
		l.stop()
	}
}
