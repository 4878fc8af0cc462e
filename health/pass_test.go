package health

import (
	"testing"
	"time"
)

func TestQuiet(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.a.set(func() { b.a.silent = true; b.a.probes = nil })
		first, _ := b.Start("a", 1)
		second, _ := b.Start("a", 1)
		setup := b.Down("a")
		first.Quiet("no sign of life for 2 s")
		if b.want("a", "suspect", LastResort); !isClosed(setup) {
			t.Error("what else is being set up there waits on")
		}
		if s := b.Status()[0]; s.Why != "no sign of life for 2 s" || s.Kind != Network {
			t.Errorf("%+v", s)
		}
		b.wait(0)
		if b.a.count() != 1 {
			t.Errorf("%d probes at once", b.a.count())
		}
		second.Quiet("me too")
		if s := b.Status()[0]; s.Why != "no sign of life for 2 s" || s.State != "suspect" {
			t.Errorf("told twice, it is %+v", s)
		}
		b.outlook(Online)
		first.Done(*refused)
		b.want("a", "down", Unusable)
		second.Quiet("me too")
		b.want("a", "down", Unusable)
		second.Cancel()
		Pass{}.Quiet("nothing")
	})
	// It was only slow.
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		p, _ := b.Start("a", 1)
		p.Quiet("no sign of life")
		p.Done(Fault{})
		b.want("a", "up", Ready)
		if isClosed(b.Down("a")) {
			t.Error("up, and Down says otherwise")
		}
	})
	// It is known to be asked, and so usable if there is nothing else.
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.a.set(func() { b.a.takes = 3 * time.Second })
		b.Network(another)
		p, _ := b.Start("a", 1)
		p.Quiet("no sign of life")
		b.want("a", "suspect", LastResort)
		b.wait(3 * time.Second)
		b.want("a", "up", Ready)
	})
}

// Quiet of the network before says nothing of this one.
func TestQuietIsDropped(t *testing.T) {
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		p, _ := b.Start("a", 1)
		b.Network(another)
		b.wait(0)
		b.a.forget()
		p.Quiet("no sign of life")
		b.wait(0)
		if b.want("a", "up", Ready); b.a.count() != 0 {
			t.Error("it is probed")
		}
		b.Network(nowhere)
		p, _ = b.Start("a", 1)
		p.Quiet("no sign of life")
		b.want("a", "offline", Unusable)
		b.Network(another)
		b.wait(0)
		p, _ = b.Start("a", 1)
		b.Set([]Target{two[1].named("b", b.b.probe)}, Settings{})
		p.Quiet("no sign of life")
		p.Done(Fault{})
		b.want("a", "not there", Unusable)
	})
}

// A login that was cut may count with the provider: a network that comes and
// goes must not buy a bad password more tries.
func TestCutInLogin(t *testing.T) {
	for cut, want := range map[bool]int{true: 3, false: 1000} {
		inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
			b.deliver("a", Fault{Kind: Account, Reason: "535"})
			logins := 1
			for range 2 * 3600 {
				b.wait(time.Second)
				p, ok := b.Start("a", 1)
				if !ok {
					continue
				}
				logins++
				if b.Network(another); cut {
					p.CutInLogin()
				} else {
					p.Cancel() // the control: it never came to that
				}
			}
			if cut && logins > want || !cut && logins < want {
				t.Errorf("cut in the login %v: %d in two hours, want about %d", cut, logins, want)
			}
		})
	}
	inBubble(t, Options{Targets: two, Network: home}, func(b *bubble) {
		b.deliver("a", Fault{Kind: Session, Reason: "421"})
		b.wait(5 * time.Second)
		p, _ := b.Start("a", 1)
		p.CutInLogin()
		b.want("a", "trial", Ready)
	})
}
