package health

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// server is an upstream as a prober sees it.
type server struct {
	mu     sync.Mutex
	fault  Fault
	silent bool          // answers nothing until the probe's time is over
	takes  time.Duration // how long an answer takes
	probes []time.Time
}

func (s *server) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *server) cut() {
	s.set(func() { s.fault = Fault{Kind: Network, Reason: "connection refused"} })
}
func (s *server) mend()   { s.set(func() { s.fault = Fault{} }) }
func (s *server) forget() { s.set(func() { s.probes = nil }) }

func (s *server) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.probes)
}

func (s *server) probe(ctx context.Context) Fault {
	s.mu.Lock()
	s.probes = append(s.probes, time.Now())
	silent, takes := s.silent, s.takes
	s.mu.Unlock()
	if silent {
		<-ctx.Done()
		return Fault{Kind: Network, Reason: "no answer"}
	}
	time.Sleep(takes)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault
}

// bubble runs f with a monitor of two upstreams, a before b, both up. What
// else a test wants to say of them it puts in opts.Targets.
type bubble struct {
	*Monitor
	t    *testing.T
	a, b server
	logs *bytes.Buffer
}

func inBubble(t *testing.T, opts Options, f func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{t: t, logs: &bytes.Buffer{}}
		opts.Targets = append([]Target{}, append(opts.Targets, make([]Target, 2-len(opts.Targets))...)...)
		opts.Targets[0].Name, opts.Targets[0].Probe = "a", b.a.probe
		opts.Targets[1].Name, opts.Targets[1].Probe = "b", b.b.probe
		opts.Log = slog.New(slog.NewTextHandler(b.logs, nil))
		b.Monitor = New(opts)
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- b.Run(ctx) }()
		b.wait(0)
		f(b)
		cancel()
		if err := <-over; err != nil {
			t.Errorf("Run gives %v", err)
		}
	})
}

// wait lets time pass until all is quiet again.
func (b *bubble) wait(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func (b *bubble) state(name string) string {
	for _, s := range b.Status() {
		if s.Name == name {
			return s.State
		}
	}
	return "not there"
}

func (b *bubble) want(name, state string, rank Rank) {
	b.t.Helper()
	if got, s := b.state(name), b.Standing(name); got != state || s.Rank != rank {
		b.t.Errorf("%s is %s of rank %d, want %s of %d", name, got, s.Rank, state, rank)
	}
}

// until waits for a rank and says how long that took.
func (b *bubble) until(name string, least Rank, most time.Duration) time.Duration {
	b.t.Helper()
	begin := time.Now()
	for b.Standing(name).Rank < least {
		if time.Since(begin) > most {
			b.t.Fatalf("%s is not of rank %d after %v: %+v", name, least, most, b.Status())
		}
		b.wait(100 * time.Millisecond)
	}
	return time.Since(begin)
}

func (b *bubble) deliver(name string, f Fault) {
	b.t.Helper()
	p, ok := b.Start(name, 1)
	if !ok {
		b.t.Fatalf("%s takes no delivery", name)
	}
	p.Done(f)
}

func TestAllAreProbedAtStart(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		if b.a.count() != 1 || b.b.count() != 1 {
			t.Fatalf("%d and %d probes", b.a.count(), b.b.count())
		}
		b.want("a", "up", Ready)
		if s := b.Standing("c"); s.Rank != Unusable {
			t.Errorf("a stranger is %+v", s)
		}
		if _, ok := b.Start("c", 1); ok {
			t.Error("a stranger takes mail")
		}
	})
}

func TestUnknownIsUsable(t *testing.T) {
	m := New(Options{Targets: []Target{{Name: "a"}}})
	if s := m.Standing("a"); s != (Standing{Rank: Ready}) {
		t.Errorf("before its first probe: %+v", s)
	}
}

func TestFailingProbes(t *testing.T) {
	inBubble(t, Options{Settings: Settings{Interval: time.Minute}}, func(b *bubble) {
		b.a.cut()
		gone := b.Down("a")
		for b.state("a") == "up" {
			b.wait(100 * time.Millisecond)
		}
		b.want("a", "suspect", LastResort)
		if !isClosed(gone) {
			t.Error("connections being set up wait on after a failed probe")
		}
		if isClosed(b.Down("a")) {
			t.Error("a delivery to a suspect upstream would end before it begins")
		}
		b.wait(time.Second)
		b.want("a", "down", Unusable)
		if !isClosed(b.Down("a")) {
			t.Error("down, and Down does not say so")
		}
		if n := strings.Count(b.logs.String(), "upstream=a state=down"); n != 1 {
			t.Errorf("logged %d times: %s", n, b.logs)
		}
		if !strings.Contains(b.logs.String(), `why="connection refused"`) {
			t.Errorf("the log does not say why: %s", b.logs)
		}
	})
}

// Both are gone for 20 s while mail waits; what returns is known within 2 s.
func TestReturnAfterShortOutage(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.a.cut()
		b.b.cut()
		b.deliver("a", Fault{Kind: Network, Reason: "refused"})
		b.deliver("b", Fault{Kind: Network, Reason: "refused"})
		b.want("a", "down", Unusable)
		b.want("b", "down", Unusable)
		b.Demand([]string{"a", "b"})
		b.wait(20 * time.Second)
		b.b.mend()
		if took := b.until("b", Returning, 2*time.Second); took > 2*time.Second {
			t.Errorf("known after %v", took)
		}
		b.want("b", "up", Returning)
		if isClosed(b.Down("b")) {
			t.Error("back, and Down still says otherwise")
		}
		// The rest of the passes follow a second apart.
		if took := b.until("b", Ready, 2*time.Second); took < 500*time.Millisecond {
			t.Errorf("preferred again after %v more", took)
		}
	})
}

// After an outage of any length, waiting mail leaves within 16 s.
func TestReturnAfterLongOutage(t *testing.T) {
	for _, outage := range []time.Duration{time.Minute, 5 * time.Minute, 3 * time.Hour, 72 * time.Hour} {
		t.Run(outage.String(), func(t *testing.T) {
			inBubble(t, Options{}, func(b *bubble) {
				b.b.cut()
				b.a.set(func() { b.a.silent = true })
				b.deliver("a", Fault{Kind: Network, Reason: "no answer"})
				b.deliver("b", Fault{Kind: Network, Reason: "refused"})
				b.Demand([]string{"a", "b"})
				b.wait(outage)
				b.a.set(func() { b.a.silent = false })
				b.b.mend()
				if took := b.until("b", Returning, 20*time.Second); took > 16*time.Second {
					t.Errorf("b is known after %v", took)
				}
			})
		})
	}
}

// With no mail at all a down upstream is asked seldom; the first message has
// it asked at once, and often again.
func TestFirstToWaitProbesAtOnce(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.a.cut()
		b.b.cut()
		b.wait(5 * time.Hour)
		b.want("a", "down", Unusable)
		b.a.forget()
		b.wait(time.Hour)
		if n := b.a.count(); n > 20 {
			t.Errorf("%d probes in an hour for nobody", n)
		}
		// Midway between two idle probes: what one found within the last second
		// would be as good as what another would.
		for b.a.forget(); b.a.count() == 0; {
			b.wait(quick)
		}
		b.wait(time.Minute)
		b.a.forget()
		b.Demand([]string{"a"})
		b.wait(0)
		if b.a.count() != 1 {
			t.Error("the first to wait does not probe at once")
		}
		b.wait(30 * time.Second)
		if n := b.a.count(); n < 30 {
			t.Errorf("%d probes in 30 s: the pace did not begin anew", n)
		}
	})
}

// Where probes pass and no delivery does, the deliveries become seldom; one that
// is served, or another network, ends that.
func TestProbesThatShowNothing(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.b.cut()
		b.deliver("b", Fault{Kind: Network, Reason: "refused"})
		tries := func(d time.Duration) (n int) {
			for end := time.Now().Add(d); time.Now().Before(end); b.wait(100 * time.Millisecond) {
				b.Demand([]string{"a", "b"})
				if p, ok := b.Start("a", 1); ok {
					n++
					p.Done(Fault{Kind: Network, Reason: "connection refused"})
				}
			}
			return n
		}
		if n := tries(time.Hour); n < 12 || n > 25 {
			t.Errorf("%d tries in an hour", n)
		}
		b.wait(5 * time.Minute)
		b.until("a", LastResort, time.Minute)
		b.deliver("a", Fault{})
		if n := tries(3 * time.Second); n < 2 {
			t.Errorf("%d tries in 3 s after one was served", n)
		}
	})
}

// Each message that B carries waits for A for a moment.
func TestCarriedMailDoesNotHurry(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.a.cut()
		b.deliver("a", Fault{Kind: Network, Reason: "refused"})
		b.wait(10 * time.Minute)
		b.a.forget()
		for range 600 {
			b.Demand([]string{"a"})
			b.deliver("b", Fault{})
			b.Demand(nil)
			b.wait(time.Second)
		}
		if n := b.a.count(); n < 60 || n > 100 {
			t.Errorf("%d probes in 600 s, want one in 8 to 10 s", n)
		}
	})
}

func TestNoProbesWhileMailFlows(t *testing.T) {
	inBubble(t, Options{Settings: Settings{Interval: time.Minute}}, func(b *bubble) {
		b.a.forget()
		b.b.forget()
		for range 60 {
			b.deliver("a", Fault{})
			b.wait(30 * time.Second)
		}
		if n := b.a.count(); n != 0 {
			t.Errorf("%d probes beside the mail", n)
		}
		if n := b.b.count(); n < 3 || n > 6 {
			t.Errorf("%d probes of the idle one in half an hour, want a few at doubling waits", n)
		}
		b.wait(time.Minute)
		if b.a.count() != 1 {
			t.Errorf("%d probes a minute after the last mail", b.a.count())
		}
	})
}

func TestIdlePaceBeginsAnewAfterMail(t *testing.T) {
	inBubble(t, Options{Settings: Settings{Interval: time.Minute}}, func(b *bubble) {
		b.wait(10 * time.Hour)
		b.a.forget()
		b.deliver("a", Fault{})
		b.wait(3 * time.Minute)
		if n := b.a.count(); n < 2 {
			t.Errorf("%d probes in the 3 min after mail", n)
		}
	})
}

func TestDeliveryFaultIsDownAtOnce(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.a.cut()
		<-drained(b.Changed())
		b.deliver("a", Fault{Kind: Network, Reason: "refused"})
		b.want("a", "down", Unusable)
		select {
		case <-b.Changed():
		default:
			t.Error("nobody is told")
		}
		b.a.mend()
		b.until("a", Returning, 1100*time.Millisecond)
		// The deliveries that began before fail late, of the old trouble.
		p := Pass{m: b.Monitor, u: b.upstreams["a"]}
		p.Done(Fault{Kind: Network, Reason: "timed out at last"})
		if b.Standing("a").Rank < Returning {
			t.Error("late news of the old trouble counts")
		}
	})
}

// drained empties c and gives a closed channel.
func drained(c <-chan struct{}) <-chan struct{} {
	select {
	case <-c:
	default:
	}
	done := make(chan struct{})
	close(done)
	return done
}

func TestCancelledCountsNeitherWay(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		p, _ := b.Start("a", 1)
		p.Cancel()
		b.want("a", "up", Ready)
		b.deliver("a", Fault{Kind: Session, Reason: "421"})
		b.wait(6 * time.Second)
		p, _ = b.Start("a", 1) // the trial
		p.Cancel()
		if s := b.Standing("a"); s != (Standing{Rank: Ready, Trial: true}) {
			t.Errorf("the trial was lost: %+v", s)
		}
		Pass{}.Done(Fault{Kind: Network})
		Pass{}.Cancel()
	})
}

func TestProbeCutByTheEndCountsNeitherWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s server
		s.silent = true
		m := New(Options{Targets: []Target{{Name: "a", Probe: s.probe}}})
		ctx, cancel := context.WithCancel(t.Context())
		over := make(chan error)
		go func() { over <- m.Run(ctx) }()
		time.Sleep(time.Second)
		cancel()
		<-over
		if st := m.Status()[0].State; st != "unknown" {
			t.Errorf("it is %s", st)
		}
	})
}

func TestTrial(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		two := []Pass{}
		for range 2 {
			p, _ := b.Start("a", 1)
			two = append(two, p)
		}
		gone := b.Down("a")
		two[0].Done(Fault{Kind: Session, Reason: "421 too busy"})
		b.want("a", "cooling", Unusable)
		if !isClosed(gone) {
			t.Error("what is being set up is not told")
		}
		two[1].Done(Fault{Kind: Session, Reason: "421 too busy"})
		drained(b.Changed())
		if _, ok := b.Start("a", 1); ok {
			t.Error("mail passes an open breaker")
		}
		b.wait(5 * time.Second) // not 10: two that failed together count once
		select {
		case <-b.Changed():
		default:
			t.Error("nobody is told of the trial")
		}
		if s := b.Standing("a"); s != (Standing{Rank: Ready, Trial: true}) {
			t.Fatalf("no trial: %+v", s)
		}
		p, ok := b.Start("a", 1)
		if !ok {
			t.Fatal("the trial is refused")
		}
		b.wait(20 * time.Second) // the loop looks at it meanwhile
		if isClosed(b.Down("a")) {
			t.Error("the trial is told to give up")
		}
		if _, ok := b.Start("a", 1); ok || b.Standing("a").Rank != Unusable {
			t.Error("a second delivery beside the trial")
		}
		p.Done(Fault{Kind: Session, Reason: "421 too busy"})
		b.wait(9900 * time.Millisecond)
		b.want("a", "cooling", Unusable)
		b.wait(200 * time.Millisecond)
		b.want("a", "trial", Ready)
		b.deliver("a", Fault{})
		b.want("a", "up", Ready)
		if s := b.Standing("a"); s.Trial {
			t.Error("served, and still on trial")
		}
		b.deliver("a", Fault{Kind: Session, Reason: "421"})
		b.wait(5 * time.Second)
		if s := b.Standing("a"); s.Rank != Ready {
			t.Error("being served did not reset the cool-down")
		}
	})
}

func TestEndOfCoolingIsToldInTime(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.wait(time.Second)
		b.deliver("a", Fault{Kind: Quota, Until: time.Now().Add(7300 * time.Millisecond)})
		b.wait(7200 * time.Millisecond)
		drained(b.Changed())
		b.wait(100 * time.Millisecond)
		select {
		case <-b.Changed():
		default:
			t.Error("nobody is told when the wait is over")
		}
	})
}

func TestLoginOnTrial(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.deliver("a", Fault{Kind: Account, Reason: "535"})
		b.wait(59 * time.Second)
		b.want("a", "cooling", Unusable)
		b.wait(time.Second)
		b.want("a", "trial", Ready)
		p, _ := b.Start("a", 1)
		b.wait(20 * time.Second) // the loop looks at it meanwhile
		if isClosed(b.Down("a")) {
			t.Error("the trial is told to give up")
		}
		b.want("a", "trial", Unusable)
		p.Cancel() // stopped before the login
		b.want("a", "trial", Ready)
		b.deliver("a", Fault{Kind: Network, Reason: "refused"})
		b.until("a", Ready, 5*time.Second)
		if s := b.Standing("a"); !s.Trial {
			t.Errorf("it never came to a login: %+v", s)
		}
		b.deliver("a", Fault{Kind: Account, Reason: "535"})
		b.wait(59 * time.Minute)
		b.want("a", "cooling", Unusable)
		b.wait(time.Minute)
		b.deliver("a", Fault{})
		b.want("a", "up", Ready)
	})
}

func TestNoProbeClearsTheBreaker(t *testing.T) {
	inBubble(t, Options{Settings: Settings{Interval: time.Second}}, func(b *bubble) {
		b.deliver("a", Fault{Kind: Quota, Reason: "452 4.5.3 enough for today", Until: time.Now().Add(time.Hour)})
		b.a.forget()
		b.wait(59 * time.Minute)
		if b.a.count() == 0 {
			t.Fatal("no probe ran: this shows nothing")
		}
		b.want("a", "cooling", Unusable)
		b.wait(time.Minute)
		b.want("a", "trial", Ready)
	})
}

func TestDownAndCooling(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.deliver("a", Fault{Kind: Account, Reason: "535 bad credentials"})
		b.a.cut()
		b.wait(5 * time.Minute)
		if st := b.Status()[0]; st.State != "trial" || st.Why != "535 bad credentials" {
			t.Errorf("a dead account is news even while the server is away: %+v", st)
		}
		if b.Standing("a").Rank != Unusable {
			t.Error("down is down")
		}
		if !strings.Contains(b.logs.String(), "level=ERROR msg=upstream upstream=a state=cooling") {
			t.Errorf("a dead account is an error: %s", b.logs)
		}
	})
}

func TestForgiveGivesOneTrial(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.deliver("a", Fault{Kind: Account, Reason: "535"})
		b.want("a", "cooling", Unusable)
		b.Forgive("a", "new")
		if s := b.Standing("a"); s != (Standing{Rank: Ready, Trial: true}) {
			t.Errorf("after a new password: %+v", s)
		}
		p, _ := b.Start("a", 1)
		if _, ok := b.Start("a", 1); ok {
			t.Error("a backlog logs in many times with a password that may be wrong again")
		}
		p.Done(Fault{})
		b.want("a", "up", Ready)
	})
}

func TestSet(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		var c server
		b.deliver("b", Fault{Kind: Quota, Reason: "452"})
		late, _ := b.Start("a", 1)
		b.Set([]Target{{Name: "c", Probe: c.probe}, {Name: "b", Probe: b.b.probe}}, Settings{Interval: time.Minute, Timeout: time.Second, Rise: 1})
		b.wait(0)
		if c.count() != 1 {
			t.Error("the new one is not probed at once")
		}
		b.want("b", "cooling", Unusable)
		b.want("a", "not there", Unusable)
		late.Done(Fault{Kind: Network, Reason: "gone"})
		if strings.Contains(b.logs.String(), "upstream=a state=down") {
			t.Error("a removed upstream is spoken of")
		}
		names := []string{}
		for _, s := range b.Status() {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, []string{"c", "b"}) {
			t.Errorf("in the order %v", names)
		}
		b.Set([]Target{{Name: "b", Probe: b.b.probe, Account: "new"}}, Settings{Interval: time.Minute, Timeout: time.Second, Rise: 1})
		b.want("b", "cooling", Unusable)
	})
}

// What an upstream was is asked anew at once under another config, which may
// have mended it; what was asked under the old one says nothing of the new.
func TestSetAsksAtOnce(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.a.cut()
		b.wait(10 * time.Hour)
		b.want("a", "down", Unusable)
		b.a.set(func() { b.a.takes, b.a.fault = 4*time.Second, *refused })
		probing := func() bool {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.upstreams["a"].probing != nil
		}
		for !probing() {
			b.wait(time.Second)
		}
		var mended server
		b.Set([]Target{two[0].named("a", mended.probe), two[1].named("b", b.b.probe)}, Settings{})
		b.wait(0)
		b.want("a", "up", Returning)
		b.wait(4 * time.Second) // the old probe ends
		b.want("a", "up", Ready)
	})
}

func TestOdometer(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		begin := b.Odometer()
		b.wait(time.Hour)
		if d := b.Odometer() - begin; d != time.Hour {
			t.Errorf("%v in an hour online", d)
		}
		b.Network(nowhere)
		at := b.Odometer()
		b.wait(100 * time.Hour)
		if d := b.Odometer() - at; d != 0 {
			t.Errorf("%v while offline", d)
		}
		b.AtLeast(at + time.Hour)
		b.AtLeast(time.Second)
		if b.Odometer() != at+time.Hour {
			t.Errorf("raised to %v, want %v", b.Odometer(), at+time.Hour)
		}
		if b.Online() {
			t.Error("online?")
		}
	})
}

func TestOdometerReading(t *testing.T) {
	at := time.Now()
	for _, c := range []struct {
		name string
		o    odometer
		now  time.Time
		want time.Duration
	}{
		{"never looked", odometer{total: time.Hour}, at, time.Hour},
		{"online", odometer{time.Hour, at, true}, at.Add(3 * time.Second), time.Hour + 3*time.Second},
		{"offline", odometer{time.Hour, at, false}, at.Add(3 * time.Second), time.Hour},
		{"stopped for a day", odometer{time.Hour, at, true}, at.Add(day), time.Hour + 2*lookAgain},
		{"backwards", odometer{time.Hour, at, true}, at.Add(-day), time.Hour},
	} {
		if got := c.o.reading(c.now); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

const day = 24 * time.Hour

func TestClockSetBack(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		b.deliver("a", Fault{Kind: Quota})
		b.b.cut()
		b.deliver("b", Fault{Kind: Network})
		b.wait(2 * time.Second)
		b.mu.Lock()
		due, until := b.upstreams["b"].pace.due(b.upstreams["b"].tracker, demand{}, time.Minute), b.upstreams["a"].Breaker.Until
		b.rewind(day)
		if d := due.Sub(b.upstreams["b"].pace.due(b.upstreams["b"].tracker, demand{}, time.Minute)); d != day {
			t.Errorf("the next probe moved by %v", d)
		}
		if d := until.Sub(b.upstreams["a"].Breaker.Until); d != day {
			t.Errorf("the end of the cooling moved by %v", d)
		}
		for what, at := range map[string]time.Time{
			"the state of the network": b.Monitor.outlook.Since, "the last sign of it": b.proved, "the last change of the routes": b.upstreams["a"].routedSince,
		} {
			if d := time.Until(at); d > 2*time.Second-day || d < -2*time.Second-day {
				t.Errorf("%s moved to %v", what, d)
			}
		}
		b.mu.Unlock()
	})
}

func TestStatusHasNextProbe(t *testing.T) {
	inBubble(t, Options{Settings: Settings{Interval: time.Minute}}, func(b *bubble) {
		s := b.Status()[0]
		if d := time.Until(s.NextProbe); d < 40*time.Second || d > time.Minute || !s.Preferred {
			t.Errorf("next probe in %v: %+v", d, s)
		}
	})
}

// A backlog, a network that comes and goes, and a server that sometimes hangs
// up instead of refusing the login: providers must still see few of them.
func TestFewLoginsWithABacklog(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		begin := time.Now()
		var logins []time.Duration
		for i := 0; time.Since(begin) < 3*day; i++ {
			switch i % 400 {
			case 0:
				b.a.cut()
			case 50:
				b.a.mend()
			}
			if p, ok := b.Start("a", 1); ok {
				if b.a.count() == 0 || i%400 < 50 {
					p.Done(Fault{Kind: Network, Reason: "refused"})
				} else {
					logins = append(logins, time.Since(begin))
					kind := Account
					if len(logins)%3 == 2 {
						kind = Session
					}
					p.Done(Fault{Kind: kind, Reason: "no"})
				}
			}
			b.wait(3 * time.Second)
		}
		if len(logins) < 5 {
			t.Fatalf("hardly any: %v", logins)
		}
		for i := range logins {
			for window, most := range map[time.Duration]int{time.Hour: 2, day: 6} {
				if j := i + most; j < len(logins) && logins[j]-logins[i] < window {
					t.Errorf("more than %d logins within %v: %v", most, window, logins)
				}
			}
		}
	})
}

// Whatever comes together, a trial is never shared, and the race detector is
// content.
func TestOneTrialAtATime(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		var mu sync.Mutex
		onTrial, most, trials := 0, 0, 0
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				for n := range 200 {
					if p, ok := b.Start("a", 1); ok {
						mu.Lock()
						if p.trial != 0 {
							onTrial, trials = onTrial+1, trials+1
							most = max(most, onTrial)
						}
						mu.Unlock()
						time.Sleep(time.Duration(i*7+n%5) * time.Millisecond)
						mu.Lock()
						if p.trial != 0 {
							onTrial--
						}
						mu.Unlock()
						switch (i + n) % 4 {
						case 0:
							p.Done(Fault{Kind: Session, Reason: "421"})
						case 1:
							p.Cancel()
						default:
							p.Done(Fault{})
						}
					}
					b.Demand([]string{"a", "b"}[:n%3])
					b.Standing("b")
					b.Down("a")
					b.Status()
					b.Odometer()
					time.Sleep(100 * time.Millisecond)
				}
			})
		}
		wg.Wait()
		if most != 1 || trials < 2 {
			t.Errorf("%d trials, %d at a time", trials, most)
		}
	})
}
