package health

import (
	"path/filepath"
	"testing"
	"time"
)

func TestEasing(t *testing.T) {
	now := time.Unix(1e9, 0)
	tr := tracker{Reach: down}.observe(pass, now, 2)
	var rounds []int
	for tr.atOnce(now) != 0 {
		n := tr.atOnce(now)
		rounds = append(rounds, n)
		tr.easing = tr.easing.begin(now)
		for range n {
			tr = tr.observe(observation{generation: tr.generation}, now, 2)
		}
	}
	if len(rounds) != 5 || rounds[0] != 1 || rounds[1] != 2 || rounds[4] != 16 {
		t.Errorf("at once %v, then all", rounds)
	}

	// One that is slow does not hold up the others for long, and a minute in
	// which nothing failed ends it.
	tr = tracker{Reach: down}.observe(pass, now, 2)
	if tr.atOnce(now.Add(time.Hour)) != 1 {
		t.Error("the time before the first delivery counts")
	}
	tr.easing = tr.easing.begin(now)
	for after, want := range map[time.Duration]int{0: 1, 11 * time.Second: 1, 12 * time.Second: 2, 50 * time.Second: 16, time.Minute: 0} {
		if got := tr.atOnce(now.Add(after)); got != want {
			t.Errorf("after %v: %d, want %d", after, got, want)
		}
	}

	// The network was away, not the upstream.
	for name, next := range map[string]tracker{"roamed": tr.roam(now), "anew": tr.anew(now)} {
		if next.atOnce(now) != 0 {
			t.Errorf("%s: %d", name, next.atOnce(now))
		}
	}
	// The trial was the first.
	tr = tracker{Reach: up}.observe(full, now, 2).observe(observation{trial: true}, now, 2)
	if tr.atOnce(now) != 2 {
		t.Errorf("after a trial: %d", tr.atOnce(now))
	}
}

func TestBackFromDown(t *testing.T) {
	inBubble(t, Options{}, func(b *bubble) {
		told(b)
		b.deliver("a", *refused)
		b.a.cut()
		b.wait(time.Minute)
		b.a.mend()
		b.wait(30 * time.Second)
		if s := b.Standing("a"); s.AtOnce != 1 {
			t.Fatalf("%+v", s)
		}
		told(b)
		b.deliver("a", Fault{})
		if s := b.Standing("a"); s.AtOnce != 2 || b.Status()[0].AtOnce != 2 {
			t.Errorf("%+v", s)
		}
		if !told(b) {
			t.Error("nobody is told that one more may begin")
		}
	})
}

// The last of those that are refused together finds the number; every hour one
// more is tried, and after a day it is forgotten.
func TestTooManyConnections(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	inBubble(t, Options{File: file}, func(b *bubble) {
		var open []Pass
		for range 16 {
			p, ok := b.Start("a", 1)
			if !ok {
				t.Fatal("not to be used")
			}
			open = append(open, p)
		}
		for _, p := range open[3:] {
			p.Done(Fault{Kind: Connections, Reason: "421 too many connections"})
		}
		b.want("a", "up", Ready)
		if s := b.Standing("a"); s.AtOnce != 3 || b.Learned("a").Connections != 3 {
			t.Errorf("%+v, %+v", s, b.Learned("a"))
		}
		for _, p := range open[:3] {
			p.Done(Fault{})
		}
		if b.Standing("a").AtOnce != 3 {
			t.Error("it is forgotten at the first success")
		}
		b.mu.Lock()
		b.upstreams["a"].Fewer.Since = wall().Add(-time.Hour)
		b.mu.Unlock()
		if b.Standing("a").AtOnce != 4 {
			t.Errorf("after an hour: %+v", b.Standing("a"))
		}
		// Somebody else has them all.
		b.deliver("a", Fault{Kind: Connections, Reason: "421 too many connections"})
		b.want("a", "cooling", Unusable)
		b.wait(30 * time.Second)
		b.want("a", "trial", Ready)
		b.deliver("a", Fault{})
		if b.want("a", "up", Ready); b.Standing("a").AtOnce != 2 || b.Learned("a").Connections != 0 {
			t.Errorf("%+v", b.Standing("a"))
		}
		b.wait(time.Minute)
		if s := b.Standing("a"); s.AtOnce != 0 {
			t.Errorf("held back by what others held once: %+v", s)
		}
		b.Learn("a", Learned{Connections: 3})
	})
	inBubble(t, Options{File: file}, func(b *bubble) {
		if b.Learned("a").Connections != 3 {
			t.Errorf("after a restart: %+v", b.Learned("a"))
		}
		// All are refused, as before a restart of the server.
		var open []Pass
		for range 3 {
			p, _ := b.Start("a", 1)
			open = append(open, p)
		}
		for _, p := range open {
			p.Done(Fault{Kind: Connections, Reason: "421 too many connections"})
		}
		if b.want("a", "cooling", Unusable); b.Learned("a").Connections != 0 {
			t.Errorf("that was no number of ours: %+v", b.Learned("a"))
		}
	})
	inBubble(t, Options{}, func(b *bubble) {
		b.Learn("a", Learned{Connections: 3})
		b.wait(24 * time.Hour)
		if b.Learned("a").Connections != 0 || b.Standing("a").AtOnce != 0 {
			t.Errorf("after a day: %+v", b.Learned("a"))
		}
		// A probe that is refused for it has reached the server.
		b.a.set(func() { b.a.fault = Fault{Kind: Connections, Reason: "421 too many connections"} })
		b.wait(time.Hour)
		b.want("a", "up", Ready)
	})
}

func TestLearned(t *testing.T) {
	file := filepath.Join(t.TempDir(), "health.json")
	inBubble(t, Options{File: file}, func(b *bubble) {
		b.Learn("a", Learned{Size: 1000, Recipients: 50})
		b.Learn("a", Learned{Size: 900, Recipients: 50})
		b.Learn("nobody", Learned{Size: 1})
	})
	inBubble(t, Options{File: file}, func(b *bubble) {
		if l := b.Learned("a"); l != (Learned{Size: 900, Recipients: 50}) || b.Status()[0].Learned != l {
			t.Errorf("%+v", l)
		}
		b.Set([]Target{{Name: "a", Probe: b.a.probe, Account: "another server"}}, Settings{})
		if l := b.Learned("a"); l != (Learned{}) {
			t.Errorf("of another account: %+v", l)
		}
		b.Learn("a", Learned{Size: 900, Recipients: 50})
		b.Learn("a", Learned{Recipients: 50}) // a larger one was taken
		if l := b.Learned("a"); l != (Learned{Recipients: 50}) {
			t.Errorf("disproved: %+v", l)
		}
		b.mu.Lock()
		b.upstreams["a"].learned.At = wall().Add(time.Minute - learnedFor)
		b.mu.Unlock()
	})
	inBubble(t, Options{File: file}, func(b *bubble) {
		if b.wait(time.Minute); b.Learned("a") != (Learned{}) || b.Status()[0].Learned != (Learned{}) {
			t.Errorf("a restart keeps it for ever: %+v", b.Learned("a"))
		}
	})
}
