package relay

import (
	"sync"
	"time"
)

// step is a part of set-up whose silences are judged apart from the others'.
type step int

const (
	finding step = iota // the race: DNS to EHLO
	authing             // the password, and AUTH
	mailing             // MAIL, on whatever session
	stepCount
)

// stage is what others call the step.
func (s step) stage() Stage { return [stepCount]Stage{Connect, Auth, Mail}[s] }

// maxPatience bounds what a server's own slowness can buy it.
const maxPatience = 10 * time.Second

// patience is how long a silence may be before it is told of. A server that
// last time was silent for gap, as those are that delay their greeting, and
// then went on, is given twice that.
func patience(quiet, gap time.Duration) time.Duration {
	return max(quiet, min(2*gap, maxPatience))
}

// watch listens to a set-up, whoever it may be that speaks: it measures the
// longest silence of each step and tells of those that are too long.
type watch struct {
	tell  func(Stage) // nil: nobody asks
	limit [stepCount]time.Duration

	mu    sync.Mutex // guards all below
	at    step
	moved time.Time
	owed  time.Duration // silence before the step, at a session that was given up
	gap   time.Duration // the longest silence in this step
	timer *time.Timer   // nil when nobody is told
	heard time.Time     // the silence up to here was told of
	over  bool
}

// newWatch watches for silences of quiet, or of what the upstream has shown to
// need in each step.
func newWatch(quiet time.Duration, gaps [stepCount]time.Duration, tell func(Stage)) *watch {
	w := &watch{moved: time.Now()}
	if tell == nil || quiet <= 0 {
		return w
	}
	w.tell = tell
	for i := range w.limit {
		w.limit[i] = patience(quiet, gaps[i])
	}
	w.mu.Lock() // check may run at once
	defer w.mu.Unlock()
	w.timer = time.AfterFunc(w.limit[0], w.check)
	return w
}

// unwatched is a watch that tells nobody.
func unwatched() *watch { return newWatch(0, [stepCount]time.Duration{}, nil) }

// touch says that the upstream moved: an octet came, or a step is done.
func (w *watch) touch() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.move()
	w.owed = 0
}

// lookedUp says that a name server moved, which is no sign of life of the
// upstream.
func (w *watch) lookedUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.move()
}

func (w *watch) move() {
	now := time.Now()
	w.gap = max(w.gap, now.Sub(w.moved))
	w.moved = now
}

// anew begins again with another session: the silence goes on, though it is not
// one that the next step has to answer for.
func (w *watch) anew() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owed = time.Since(w.moved)
}

// enter begins a step.
func (w *watch) enter(s step) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at, w.gap, w.moved = s, 0, time.Now()
	if w.timer != nil && !w.over {
		w.timer.Reset(max(0, w.limit[s]-w.owed))
	}
}

// longest is the longest silence of this step.
func (w *watch) longest() time.Duration {
	w.touch()
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.gap
}

// stop ends the watch: from here on nothing is told.
func (w *watch) stop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over = true; w.timer != nil {
		w.timer.Stop()
	}
}

// check runs when a silence may be too long. It has a goroutine of its own, so
// that telling delays nothing.
func (w *watch) check() {
	if at, long := w.isLong(); long {
		w.tell(at.stage())
	}
}

func (w *watch) isLong() (step, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.over {
		return w.at, false
	}
	since := w.moved.Add(-w.owed)
	if w.heard.After(since) {
		since = w.heard
	}
	now := time.Now()
	left := w.limit[w.at] - now.Sub(since)
	if left > 0 {
		w.timer.Reset(left)
		return w.at, false
	}
	w.heard = now
	w.timer.Reset(w.limit[w.at])
	return w.at, true
}
