package queue_test

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"mailroam/queue"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func message(states ...queue.RcptState) queue.Message {
	m := queue.NewMessage{
		ID: queue.NewID(), Accepted: noon, Recipients: make([]queue.Addressee, len(states)),
		Filing: queue.Filing{Lane: "a,b", Due: noon, Age: noon.Add(time.Hour)},
	}.New(10)
	for i, s := range states {
		m.Recipients[i].State = s
	}
	return m
}

func standing(m queue.Message) string {
	var s []string
	for _, r := range m.Recipients {
		s = append(s, string(r.State))
	}
	return strings.Join(s, " ")
}

func TestNewKeepsTimesAsTheyAreRead(t *testing.T) {
	now := time.Now()
	m := queue.NewMessage{Accepted: now, Filing: queue.Filing{Due: now, Age: now}}.New(3)
	if m.Accepted != m.Due || m.Accepted.Location() != time.UTC || m.Accepted != now.UTC().Round(0) || m.State != queue.Queued || m.Size != 3 {
		t.Errorf("message %+v", m)
	}
}

func TestCheck(t *testing.T) {
	good := queue.NewMessage{ID: queue.NewID(), Recipients: queue.To("a@example.org")}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*queue.NewMessage){
		"no ID":         func(n *queue.NewMessage) { n.ID = queue.ID{} },
		"no recipient":  func(n *queue.NewMessage) { n.Recipients = nil },
		"NUL in a lane": func(n *queue.NewMessage) { n.Lane = "a\x00" },
		"a lane of 1MB": func(n *queue.NewMessage) { n.Lane = strings.Repeat("a", 1<<20) },
		"a huge notice": func(n *queue.NewMessage) { n.Body = make([]byte, queue.MaxNotice+1) },
	} {
		n := good
		spoil(&n)
		if n.Check() == nil {
			t.Error(name, "passed")
		}
		if (queue.Outcome{Spawn: []queue.NewMessage{good, n}}).Check() == nil {
			t.Error(name, "passed as a notice")
		}
	}
	if (queue.Outcome{Filing: queue.Filing{Lane: "\x00"}}).Check() == nil {
		t.Error("a bad lane passed in an outcome")
	}
}

func TestSettle(t *testing.T) {
	later := queue.Filing{Lane: "b", Due: noon.Add(time.Minute), Age: noon.Add(2 * time.Hour)}
	hold := queue.Hold{Reason: "too old", By: "mailroam", Since: noon}
	deliver := []queue.RcptResult{{Index: 0, State: queue.Delivered}}
	for _, c := range []struct {
		name string
		m    queue.Message
		o    queue.Outcome
		want queue.Want

		state queue.State
		rcpts string
	}{
		{"delivered", message(queue.Pending), queue.Outcome{Rcpts: deliver}, "", queue.Done, "delivered"},
		{"one of two", message(queue.Pending, queue.Pending), queue.Outcome{Rcpts: deliver}, "", queue.Queued, "delivered pending"},
		{"nothing known", message(queue.Pending), queue.Outcome{}, "", queue.Queued, "pending"},
		{"held by mailroam", message(queue.Pending), queue.Outcome{Hold: hold}, "", queue.Held, "pending"},
		{"nothing left to hold", message(queue.Pending), queue.Outcome{Rcpts: deliver, Hold: hold}, "", queue.Done, "delivered"},
		{"a person holds", message(queue.Pending, queue.Pending), queue.Outcome{Rcpts: deliver}, queue.WantHold, queue.Held, "delivered pending"},
		{"a person holds too late", message(queue.Pending), queue.Outcome{Rcpts: deliver}, queue.WantHold, queue.Done, "delivered"},
		{"a person drops", message(queue.Pending, queue.Pending), queue.Outcome{Rcpts: deliver}, queue.WantDrop, queue.Done, "delivered dropped"},
		{"a person drops too late", message(queue.Pending), queue.Outcome{Rcpts: deliver}, queue.WantDrop, queue.Done, "delivered"},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.o.Filing, c.o.At = later, noon.Add(time.Second)
			c.m.Settle(c.o, c.want)
			if c.m.State != c.state || standing(c.m) != c.rcpts {
				t.Errorf("%s, recipients %s", c.m.State, standing(c.m))
			}
			switch c.m.State {
			case queue.Queued:
				if c.m.Filing != later {
					t.Errorf("filed %+v", c.m.Filing)
				}
			case queue.Done:
				if !c.m.Ended.Equal(c.o.At) || c.m.Filing != (queue.Filing{}) {
					t.Errorf("ended %v, filed %+v", c.m.Ended, c.m.Filing)
				}
			case queue.Held:
				if c.m.Held.Reason == "" || c.m.Held.By == "" || c.m.Held.Since.IsZero() {
					t.Errorf("held %+v", c.m.Held)
				}
			}
		})
	}
}

func TestSettleCountsAndLogs(t *testing.T) {
	m := message(queue.Pending)
	for i := range queue.MaxAttempts + 5 {
		m.Settle(queue.Outcome{Counted: i%2 == 0, Attempts: []queue.Attempt{{Code: i}}}, "")
	}
	if n := len(m.Attempts); n != queue.MaxAttempts || m.Attempts[n-1].Code != n+4 || m.Attempts[1].Code != 6 || m.Attempts[0].Code != 0 {
		t.Errorf("%d attempts, %d, %d to %d", n, m.Attempts[0].Code, m.Attempts[1].Code, m.Attempts[n-1].Code)
	}
	if m.Tries != 13 {
		t.Errorf("%d tries counted, want 13", m.Tries)
	}
}

// TestDoubtStaysInTheTimeline: a copy may have arrived, however much came later.
func TestDoubtStaysInTheTimeline(t *testing.T) {
	m := message(queue.Pending)
	settle := func(verdict string, code int) {
		m.Settle(queue.Outcome{Attempts: []queue.Attempt{{Verdict: verdict, Code: code}}}, "")
	}
	settle("next", 450)
	settle("in-doubt", 0)
	for i := range 2 * queue.MaxAttempts {
		settle("next", i)
	}
	if n := len(m.Attempts); n != queue.MaxAttempts || m.Attempts[0].Code != 450 || m.Attempts[1].Verdict != "in-doubt" || m.Attempts[n-1].Code != 2*n-1 {
		t.Errorf("%d attempts: %+v", n, m.Attempts)
	}
	for range 2 * queue.MaxAttempts {
		settle("in-doubt", 1)
	}
	settle("bounce", 550)
	if n := len(m.Attempts); n != queue.MaxAttempts || m.Attempts[0].Code != 450 || m.Attempts[n-1].Code != 550 {
		t.Errorf("%d attempts: %+v", n, m.Attempts)
	}
}

func TestSettleReplacesRefusalsAndDoubt(t *testing.T) {
	m := message(queue.Pending, queue.Pending)
	m.Refusals = []queue.Refusal{{Upstream: "a"}}
	m.Recipients[0].Doubt = &queue.Doubt{Upstream: "a"}
	m.Recipients[1].Doubt = &queue.Doubt{Upstream: "a"}
	m.Settle(queue.Outcome{
		Refusals: []queue.Refusal{{Upstream: "b"}},
		Rcpts:    []queue.RcptResult{{Index: 0, State: queue.Delivered, Doubt: &queue.Doubt{Upstream: "b"}}},
	}, "")
	if len(m.Refusals) != 1 || m.Refusals[0].Upstream != "b" {
		t.Errorf("refusals %+v", m.Refusals)
	}
	if m.Recipients[0].Doubt != nil {
		t.Error("a settled recipient is in doubt")
	}
	if m.InDoubt() != "a" {
		t.Error("a recipient that was not named lost its doubt")
	}
}

func TestInterrupt(t *testing.T) {
	m := message(queue.Pending, queue.Pending, queue.Delivered, queue.Pending)
	m.Interrupt("up", []int{0, 1, 2}, []queue.RcptResult{{Index: 1, State: queue.Failed}}, "", noon.Add(time.Hour))
	if m.State != queue.Queued || m.Lane != "" || !m.Due.Equal(noon.Add(time.Hour)) || m.Age != noon.Add(time.Hour) || m.Tries != 0 {
		t.Errorf("message %+v", m)
	}
	if standing(m) != "pending failed delivered pending" {
		t.Error("recipients", standing(m))
	}
	if d := m.Recipients[0].Doubt; d == nil || d.Upstream != "up" || !d.Crash || m.Recipients[3].Doubt != nil {
		t.Errorf("doubts %+v, %+v", d, m.Recipients[3].Doubt)
	}
	if len(m.Attempts) != 1 || !m.Attempts[0].Interrupted || m.Attempts[0].Upstream != "up" {
		t.Errorf("attempts %+v", m.Attempts)
	}

	for _, c := range []struct {
		name     string
		upstream string
		known    queue.RcptState
		want     queue.Want
		state    queue.State
		doubt    string
	}{
		{"nothing was sent", "", queue.Pending, "", queue.Queued, ""},
		{"all was known", "up", queue.Delivered, "", queue.Done, ""},
		{"a person held it", "up", queue.Pending, queue.WantHold, queue.Held, "up"},
		{"a person dropped it", "up", queue.Pending, queue.WantDrop, queue.Done, ""},
	} {
		m := message(queue.Pending)
		m.Interrupt(c.upstream, nil, []queue.RcptResult{{State: c.known}}, c.want, noon)
		if m.State != c.state || m.InDoubt() != c.doubt {
			t.Errorf("%s: %s, in doubt at %q", c.name, m.State, m.InDoubt())
		}
	}
}

func TestRequeue(t *testing.T) {
	m := message(queue.Pending, queue.Pending)
	before := m
	before.Recipients = append([]queue.Recipient(nil), m.Recipients...)
	m.Requeue(nil, "", noon.Add(time.Hour))
	if !m.Due.Equal(noon.Add(time.Hour)) {
		t.Errorf("due %v", m.Due)
	}
	if m.Due = before.Due; !reflect.DeepEqual(m, before) {
		t.Errorf("before %+v\nafter  %+v", before, m)
	}
	m.Requeue([]queue.RcptResult{{Index: 1, State: queue.Delivered}}, queue.WantHold, noon)
	if m.State != queue.Held || standing(m) != "pending delivered" {
		t.Errorf("%s, recipients %s", m.State, standing(m))
	}
	m = message(queue.Pending)
	m.Requeue([]queue.RcptResult{{Index: 0, State: queue.Delivered}}, "", noon)
	if m.State != queue.Done {
		t.Errorf("%s with nothing pending", m.State)
	}
}

// Every verb in every state; what is not listed does nothing.
func TestDo(t *testing.T) {
	type row struct {
		verb  queue.Verb
		state queue.State
	}
	acts := map[row]struct {
		state queue.State
		rcpt  queue.RcptState
	}{
		{queue.OpHold, queue.Queued}:  {queue.Held, queue.Pending},
		{queue.OpRelease, queue.Held}: {queue.Queued, queue.Pending},
		{queue.OpRetry, queue.Queued}: {queue.Queued, queue.Pending},
		{queue.OpFail, queue.Queued}:  {queue.Done, queue.Failed},
		{queue.OpFail, queue.Held}:    {queue.Done, queue.Failed},
		{queue.OpDrop, queue.Queued}:  {queue.Done, queue.Dropped},
		{queue.OpDrop, queue.Held}:    {queue.Done, queue.Dropped},
	}
	at := noon.Add(time.Hour)
	for _, v := range []queue.Verb{queue.OpHold, queue.OpRelease, queue.OpRetry, queue.OpFail, queue.OpDrop, queue.OpForget, ""} {
		for _, s := range []queue.State{queue.Queued, queue.Leased, queue.Held, queue.Done} {
			m := message(queue.Pending, queue.Delivered)
			m.State = s
			m.Refusals = []queue.Refusal{{Upstream: "a"}}
			if s == queue.Held {
				m.Held = queue.Hold{Reason: "r"}
			}
			before := m
			before.Recipients = append([]queue.Recipient(nil), m.Recipients...)
			changed := m.Do(queue.Op{Verb: v, Reason: "because", By: "operator", At: at})
			want, acting := acts[row{v, s}]
			switch {
			case changed != acting:
				t.Errorf("%s on %s: changed is %v", v, s, changed)
			case !acting && !reflect.DeepEqual(m, before):
				t.Errorf("%s on %s changed the message", v, s)
			case acting && (m.State != want.state || m.Recipients[0].State != want.rcpt || m.Recipients[1].State != queue.Delivered):
				t.Errorf("%s on %s: %s, recipients %s", v, s, m.State, standing(m))
			}
			if !acting {
				continue
			}
			switch v {
			case queue.OpHold:
				if m.Held != (queue.Hold{Reason: "because", By: "operator", Since: at}) {
					t.Errorf("held %+v", m.Held)
				}
			case queue.OpRelease:
				if m.Lane != "" || !m.Due.Equal(at) || !m.Released.Equal(at) || m.Refusals != nil || m.Held != (queue.Hold{}) {
					t.Errorf("released %+v", m)
				}
			case queue.OpRetry:
				if m.Lane != "" || !m.Due.Equal(at) || m.Refusals != nil {
					t.Errorf("retried %+v", m)
				}
			case queue.OpFail, queue.OpDrop:
				if m.Recipients[0].Last.Text != "because" || !m.Ended.Equal(at) {
					t.Errorf("ended %+v", m)
				}
			}
		}
	}
}

func TestWantNext(t *testing.T) {
	for _, c := range []struct {
		was  queue.Want
		verb queue.Verb
		is   queue.Want
	}{
		{queue.WantNothing, queue.OpHold, queue.WantHold},
		{queue.WantNothing, queue.OpDrop, queue.WantDrop},
		{queue.WantNothing, queue.OpRelease, queue.WantNothing},
		{queue.WantNothing, queue.OpRetry, queue.WantNothing},
		{queue.WantNothing, queue.OpFail, queue.WantNothing},
		{queue.WantNothing, queue.OpForget, queue.WantNothing},
		{queue.WantHold, queue.OpHold, queue.WantHold},
		{queue.WantHold, queue.OpDrop, queue.WantDrop},
		{queue.WantHold, queue.OpRelease, queue.WantNothing},
		{queue.WantDrop, queue.OpHold, queue.WantHold},
		{queue.WantDrop, queue.OpRelease, queue.WantDrop},
	} {
		if got, changed := c.was.Next(c.verb); got != c.is || changed != (c.was != c.is) {
			t.Errorf("%q after %s: %q, %v", c.was, c.verb, got, changed)
		}
	}
}

// Whatever is done to a message, in any order, a settled recipient keeps its
// standing and its answer, and is in no doubt.
func TestSettledRecipientNeverChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := message(queue.Pending, queue.Pending, queue.Pending)
		states := rapid.SampledFrom([]queue.RcptState{queue.Pending, queue.Delivered, queue.Failed, queue.Expired, queue.Dropped})
		results := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) queue.RcptResult {
			r := queue.RcptResult{Index: rapid.IntRange(-1, 4).Draw(t, "index"), State: states.Draw(t, "state")}
			r.Last.Code = rapid.Int().Draw(t, "code")
			if rapid.Bool().Draw(t, "doubt") {
				r.Doubt = &queue.Doubt{Upstream: "up"}
			}
			return r
		}), 0, 4)
		wants := rapid.SampledFrom([]queue.Want{"", queue.WantHold, queue.WantDrop})
		verbs := rapid.SampledFrom([]queue.Verb{queue.OpHold, queue.OpRelease, queue.OpRetry, queue.OpFail, queue.OpDrop, queue.OpForget})
		for range rapid.IntRange(1, 20).Draw(t, "steps") {
			before := append([]queue.Recipient(nil), m.Recipients...)
			wasDone := m.State == queue.Done
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				if !wasDone {
					m.Settle(queue.Outcome{Rcpts: results.Draw(t, "rcpts"), Filing: queue.Filing{Due: noon}, At: noon}, wants.Draw(t, "want"))
				}
			case 1:
				if !wasDone {
					m.Interrupt("up", rapid.SampledFrom([][]int{nil, {0}, {1, 2}}).Draw(t, "to"), results.Draw(t, "known"), wants.Draw(t, "want"), noon)
				}
			case 2:
				if !wasDone {
					m.Requeue(results.Draw(t, "known"), wants.Draw(t, "want"), noon)
				}
			case 3:
				m.Do(queue.Op{Verb: verbs.Draw(t, "verb"), At: noon})
			}
			for i, r := range m.Recipients {
				if before[i].State != queue.Pending && !reflect.DeepEqual(r, before[i]) {
					t.Fatalf("recipient %d was %+v and is %+v", i, before[i], r)
				}
				if r.State != queue.Pending && r.Doubt != nil {
					t.Fatalf("recipient %d is %s and in doubt", i, r.State)
				}
			}
			if done := m.State == queue.Done; done != (len(m.Pending()) == 0) {
				t.Fatalf("%s with %d recipients pending", m.State, len(m.Pending()))
			}
		}
	})
}

// A recipient that is in doubt elsewhere was not part of the interrupted
// attempt: nobody but that upstream may be asked for it.
func TestInterruptKeepsDoubtsElsewhere(t *testing.T) {
	m := message(queue.Pending, queue.Pending, queue.Pending)
	m.Recipients[1].Doubt = &queue.Doubt{Upstream: "b", Online: time.Hour}
	m.Recipients[2].Doubt = &queue.Doubt{Upstream: "a", Online: time.Hour, Refused: 1}
	m.Interrupt("a", nil, nil, "", noon)
	var got []string
	for _, r := range m.Recipients {
		got = append(got, r.Doubt.Upstream)
	}
	if strings.Join(got, " ") != "a b a" || m.Recipients[1].Doubt.Crash || !m.Recipients[2].Doubt.Crash {
		t.Errorf("in doubt at %v", got)
	}
}

// Mail that a person lets go has its time before it again: how much of it was
// online is told by whoever files it.
func TestReleaseBeginsAnew(t *testing.T) {
	m := message(queue.Pending)
	m.State, m.Online, m.Barred, m.Warned = queue.Held, time.Hour, 2*time.Hour, noon
	if !m.Do(queue.Op{Verb: queue.OpRelease, At: noon}) || m.Online != 0 || m.Barred != 0 || !m.Warned.IsZero() {
		t.Errorf("released with the odometer at %v, barred since %v, its sender warned at %v", m.Online, m.Barred, m.Warned)
	}
	m.Settle(queue.Outcome{Online: 9 * time.Hour, At: noon}, "")
	if m.Online != 9*time.Hour {
		t.Errorf("filed with the odometer at %v", m.Online)
	}
	m.Settle(queue.Outcome{At: noon}, "")
	if m.Online != 9*time.Hour {
		t.Errorf("filed again with the odometer at %v", m.Online)
	}
}

// Being refused by all is a standing that each settle tells anew; whoever tries
// again or lets go gives those upstreams a new chance, and what ended has none.
func TestBarred(t *testing.T) {
	barred := func(s queue.State) queue.Message {
		m := message(queue.Pending, queue.Pending)
		m.State, m.Barred, m.Warned = s, time.Hour, noon
		return m
	}
	told := noon.Add(time.Minute)
	for _, c := range []struct {
		name   string
		m      queue.Message
		do     func(*queue.Message)
		barred time.Duration
		warned time.Time
	}{
		{"settled with another reading", barred(queue.Queued), func(m *queue.Message) { m.Settle(queue.Outcome{Barred: 2 * time.Hour, At: told}, "") }, 2 * time.Hour, noon},
		{"one takes it again", barred(queue.Queued), func(m *queue.Message) { m.Settle(queue.Outcome{At: told}, "") }, 0, noon},
		{"its sender is told", barred(queue.Queued), func(m *queue.Message) { m.Settle(queue.Outcome{Barred: time.Hour, Warned: true, At: told}, "") }, time.Hour, told},
		{"requeued", barred(queue.Queued), func(m *queue.Message) { m.Requeue(nil, "", told) }, time.Hour, noon},
		{"interrupted", barred(queue.Queued), func(m *queue.Message) { m.Interrupt("up", nil, nil, "", told) }, time.Hour, noon},
		{"held", barred(queue.Queued), func(m *queue.Message) { m.Do(queue.Op{Verb: queue.OpHold, At: told}) }, time.Hour, noon},
		{"released", barred(queue.Held), func(m *queue.Message) { m.Do(queue.Op{Verb: queue.OpRelease, At: told}) }, 0, time.Time{}},
		// Its time goes on, so what its sender was told still holds.
		{"retried", barred(queue.Queued), func(m *queue.Message) { m.Do(queue.Op{Verb: queue.OpRetry, At: told}) }, 0, noon},
		{"failed", barred(queue.Queued), func(m *queue.Message) { m.Do(queue.Op{Verb: queue.OpFail, At: told}) }, 0, noon},
	} {
		c.do(&c.m)
		if c.m.Barred != c.barred || !c.m.Warned.Equal(c.warned) {
			t.Errorf("%s: barred since %v, warned at %v; want %v, %v", c.name, c.m.Barred, c.m.Warned, c.barred, c.warned)
		}
	}
}
