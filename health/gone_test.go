package health

import (
	"math/rand/v2"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// Whatever the config does, and however often we start anew, an upstream takes
// no more in a day than its limit, and no secret that was refused is tried more
// than twice in an hour or six times in a day.
func TestNothingOfADayIsForgottenByTheConfig(t *testing.T) {
	if over := comings(t, func(*Monitor) {}); over != "" {
		t.Error(over)
	}
	if over := comings(t, func(m *Monitor) { clear(m.gone) }); over == "" {
		t.Error("the test would not see that what has left the config was forgotten")
	}
}

// comings plays an upstream that comes and goes, and says which bound was broken.
func comings(t *testing.T, atEach func(*Monitor)) (over string) {
	const perDay = 40
	for seed := range uint64(6) {
		file := filepath.Join(t.TempDir(), "health.json")
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 4))
			a := Target{Name: "a", Account: "one", Limits: Limits{PerDay: perDay}}
			b := Target{Name: "b"}
			m := New(Options{File: file, Targets: []Target{a, b}})
			var taken, refused []time.Time
			within := func(list []time.Time, span time.Duration) (n int) {
				for _, at := range list {
					if time.Since(at) < span {
						n++
					}
				}
				return n
			}
			var open []Pass
			end := func(p Pass) {
				if p.spent > 0 { // it took something
					taken = append(taken, time.Now())
					p.Done(Fault{})
					return
				}
				refused = append(refused, time.Now())
				p.Done(Fault{Kind: Account, Reason: "535"})
			}
			bad := seed%2 == 0 // its password is refused
			for range 500 {
				time.Sleep(time.Duration(random.IntN(300)) * time.Second)
				switch random.IntN(8) {
				case 0:
					m.Set([]Target{b}, Settings{})
					atEach(m)
				case 1:
					m.Set([]Target{b, a}, Settings{})
				case 2:
					for _, p := range open { // an orderly stop
						end(p)
					}
					open = nil
					m.saveNow()
					m = New(Options{File: file, Targets: [][]Target{{a, b}, {b}}[random.IntN(2)]})
					atEach(m)
				case 3:
					if len(open) > 0 {
						end(open[0])
						open = open[1:]
					}
				default:
					if bad && len(open) > 0 { // those that begin together are one
						continue
					}
					if p, ok := m.Start("a", 1); ok {
						if !bad {
							p.Spent(1)
						}
						open = append(open, p)
					}
				}
				switch {
				case within(taken, 24*time.Hour) > perDay:
					over = "more was taken in a day than the limit"
				case bad && within(refused, time.Hour) > 2, bad && within(refused, 24*time.Hour) > 6:
					over = "a secret that was refused was tried too often"
				}
			}
			for _, p := range open {
				end(p)
			}
		})
	}
	return over
}

// After a day nothing is kept, and the file does not grow.
func TestGoneForGood(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	synctest.Test(t, func(t *testing.T) {
		m := New(Options{File: file, Targets: []Target{{Name: "a"}, {Name: "b"}}})
		m.Set([]Target{{Name: "b"}}, Settings{})
		kept := func() bool {
			m.saveNow()
			s, err := readState(file)
			if err != nil {
				t.Fatal(err)
			}
			_, ok := s.Upstreams["a"]
			return ok
		}
		if !kept() {
			t.Error("it is not in the file")
		}
		time.Sleep(23 * time.Hour)
		m = New(Options{File: file, Targets: []Target{{Name: "b"}}})
		if !kept() {
			t.Error("a restart forgets it")
		}
		time.Sleep(time.Hour)
		if kept() {
			t.Error("it is kept for ever")
		}
	})
}

// A clock that was ahead keeps nothing longer either.
func TestGoneAfterAClockThatWasAhead(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	synctest.Test(t, func(t *testing.T) {
		ahead := savedState{Version: fileVersion, Saved: time.Now().AddDate(5, 0, 0), Upstreams: map[string]savedUpstream{"a": {}}}
		if err := writeState(file, ahead); err != nil {
			t.Fatal(err)
		}
		m := New(Options{File: file, Targets: []Target{{Name: "b"}}})
		time.Sleep(goneFor)
		if m.forgetGone(wall()); len(m.gone) > 0 {
			t.Errorf("it is kept for %v", time.Until(m.gone["a"].left)+goneFor)
		}
	})
}
