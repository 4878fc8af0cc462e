package dispatch

import (
	"testing"
	"time"

	"mailroam/queue"
)

var t0 = time.Date(2030, 1, 2, 3, 4, 5, 0, time.UTC)

func testPolicy() Policy {
	return Policy{
		Routes:   NewRoutes([]Route{{Name: "a"}, {Name: "b"}, {Name: "own", Senders: []string{"@own.example"}}}),
		Schedule: Schedule{Initial: 30 * time.Second, Max: 30 * time.Minute},
		Expire:   5 * 24 * time.Hour, PolicyHold: 24 * time.Hour,
	}
}

func message(rcpts ...string) queue.Message {
	if rcpts == nil {
		rcpts = []string{"bob@example.net"}
	}
	return queue.NewMessage{ID: queue.NewID(), Accepted: t0, Online: time.Hour, ReversePath: "ann@example.com", Recipients: queue.To(rcpts...)}.New(100)
}

func TestFile(t *testing.T) {
	p := testPolicy()
	lane := func(names ...string) string { m := message(); return p.lane(&m, names) }
	in := func(d time.Duration) time.Time { return t0.Add(d) }
	refusal := func(u string, d time.Duration) queue.Refusal { return queue.Refusal{Upstream: u, Until: in(d)} }
	for _, tt := range []struct {
		name     string
		doubt    *queue.Doubt
		refusals []queue.Refusal
		due      time.Time
		online   time.Duration
		want     queue.Filing
	}{
		{"new", nil, nil, t0, time.Hour, queue.Filing{Lane: lane("a", "b"), Due: t0, Age: in(5 * 24 * time.Hour)}},
		{
			"refused by a waits for b at once, and is looked at when a may be asked", nil,
			[]queue.Refusal{refusal("a", time.Minute)},
			t0, time.Hour,
			queue.Filing{Lane: lane("b"), Due: t0, Age: in(time.Minute)},
		},
		{
			"refused by all waits for the first", nil,
			[]queue.Refusal{refusal("a", time.Minute), refusal("b", 30*time.Second)},
			t0, time.Hour,
			queue.Filing{Lane: lane("a", "b"), Due: in(30 * time.Second), Age: in(5 * 24 * time.Hour)},
		},
		{
			"a refusal that is over counts for nothing", nil,
			[]queue.Refusal{refusal("a", -time.Second)},
			t0, time.Hour,
			queue.Filing{Lane: lane("a", "b"), Due: t0, Age: in(5 * 24 * time.Hour)},
		},
		{
			"a refusal of somebody who may not send anyway", nil,
			[]queue.Refusal{refusal("own", time.Hour)},
			t0, time.Hour,
			queue.Filing{Lane: lane("a", "b"), Due: t0, Age: in(5 * 24 * time.Hour)},
		},
		{
			"in doubt waits for its upstream alone", &queue.Doubt{Upstream: "b", Online: time.Hour}, nil, t0, time.Hour,
			queue.Filing{Lane: lane("b"), Due: t0, Age: in(2 * time.Hour)},
		},
		{
			"in doubt after a crash is released sooner", &queue.Doubt{Upstream: "b", Online: time.Hour, Crash: true}, nil, t0, time.Hour + 5*time.Minute,
			queue.Filing{Lane: lane("b"), Due: t0, Age: in(10 * time.Minute)},
		},
		{
			"in doubt at an upstream that is gone", &queue.Doubt{Upstream: "gone", Online: time.Hour}, nil, t0, time.Hour,
			queue.Filing{Lane: lane(), Due: t0, Age: in(15 * time.Minute)},
		},
		{"time offline does not age", nil, nil, t0, time.Hour + 24*time.Hour, queue.Filing{Lane: lane("a", "b"), Due: t0, Age: in(4 * 24 * time.Hour)}},
	} {
		m := message()
		m.Recipients[0].Doubt = tt.doubt
		got, ok := p.File(&m, tt.refusals, tt.due, Now{Time: t0, Online: tt.online})
		if !ok || got != tt.want {
			t.Errorf("%s:\n got %+v %v\nwant %+v", tt.name, got, ok, tt.want)
		}
	}
}

func TestFileForNobody(t *testing.T) {
	p := testPolicy()
	p.Routes = NewRoutes([]Route{{Name: "own", Senders: []string{"@own.example"}}})
	m := message()
	if f, ok := p.File(&m, nil, t0, Now{Time: t0}); ok {
		t.Errorf("filed in %+v although nobody may send it", f)
	}
}

func TestDecide(t *testing.T) {
	p := testPolicy()
	lane := func(names ...string) string { m := message(); return p.lane(&m, names) }
	day := 24 * time.Hour
	for _, tt := range []struct {
		name  string
		edit  func(*queue.Message)
		lease string
		now   Now
		event string
		send  bool
		check func(queue.Outcome) bool
	}{
		{"fresh mail is sent", nil, "a", Now{Time: t0.Add(time.Minute), Online: time.Hour}, "", true, nil},
		{
			"a lease without an upstream only files", nil, "",
			Now{Time: t0.Add(time.Minute), Online: time.Hour},
			"filed", false,
			func(o queue.Outcome) bool { return o.Lane == lane("a", "b") && !o.Counted },
		},
		{
			"five days online expire", nil, "a",
			Now{Time: t0.Add(6 * day), Online: time.Hour + 5*day},
			"expired", false,
			func(o queue.Outcome) bool { return len(o.Rcpts) == 1 && o.Rcpts[0].State == queue.Expired },
		},
		{"five days offline do not", nil, "a", Now{Time: t0.Add(6 * day), Online: 2 * time.Hour}, "", true, nil},
		{
			"30 days by the clock are held, whatever the odometer", nil, "a",
			Now{Time: t0.Add(30 * day), Online: time.Hour + 6*day},
			"held", false,
			func(o queue.Outcome) bool { return o.Hold.Reason != "" && o.Rcpts == nil },
		},
		{"30 days count from a release", func(m *queue.Message) { m.Released = t0.Add(20 * day) }, "a", Now{Time: t0.Add(31 * day), Online: time.Hour}, "", true, nil},
		{
			"a null reverse-path that expires is held", func(m *queue.Message) { m.ReversePath = "" }, "a",
			Now{Time: t0.Add(6 * day), Online: time.Hour + 5*day},
			"expired", false,
			func(o queue.Outcome) bool { return o.Hold.Reason != "" && o.Rcpts[0].State == queue.Pending },
		},
		{
			"a doubt that lasted is released", func(m *queue.Message) { m.Recipients[0].Doubt = &queue.Doubt{Upstream: "b", Online: time.Hour} }, "b",
			Now{Time: t0.Add(3 * time.Hour), Online: 3 * time.Hour},
			"in-doubt", false,
			func(o queue.Outcome) bool {
				return o.Rcpts[0].Doubt == nil && o.Counted && o.Lane == lane("a", "b")
			},
		},
		{
			"a doubt that lasted offline is not", func(m *queue.Message) { m.Recipients[0].Doubt = &queue.Doubt{Upstream: "b", Online: time.Hour} }, "b",
			Now{Time: t0.Add(30 * time.Hour), Online: time.Hour + time.Minute},
			"", true, nil,
		},
		{
			"a crash learns the odometer when it is filed", func(m *queue.Message) { m.Recipients[0].Doubt = &queue.Doubt{Upstream: "b", Crash: true} }, "",
			Now{Time: t0.Add(time.Hour), Online: 7 * time.Hour},
			"filed", false,
			func(o queue.Outcome) bool {
				return o.Rcpts[0].Doubt.Online == 7*time.Hour && o.Lane == lane("b")
			},
		},
		{"nobody may send it any more", func(m *queue.Message) { m.ReversePath = "x@y.example" }, "", Now{Time: t0, Online: 0}, "filed", false, nil},
	} {
		m := message()
		if tt.edit != nil {
			tt.edit(&m)
		}
		o, event, send := p.Decide(queue.Claim{Message: m, Upstream: tt.lease}, tt.now)
		if event != tt.event || send != tt.send {
			t.Errorf("%s: event %q, send %v", tt.name, event, send)
		}
		if tt.check != nil && !tt.check(o) {
			t.Errorf("%s: %+v", tt.name, o)
		}
	}
}

// TestDelayIsNotLookedAtTwice: once its sender is told of the delay, mail waits for
// the next thing that the clock brings.
func TestDelayIsNotLookedAtTwice(t *testing.T) {
	p := testPolicy()
	p.Warn = 4 * time.Hour
	m := message()
	m.Lane = p.lane(&m, []string{"a"})
	now := Now{Time: t0.Add(4 * time.Hour), Online: 5 * time.Hour}
	o, _, send := p.Decide(queue.Claim{Message: m}, now)
	if want := t0.Add(p.Expire); !o.Warned || send || !o.Age.Equal(want) {
		t.Errorf("warned %v, sent %v, next look at %v, want %v", o.Warned, send, o.Age, want)
	}
}
