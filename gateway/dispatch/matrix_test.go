package dispatch

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/relay"
	"mailroam/gateway/sink"
	"mailroam/health"
	"mailroam/queue"
	"mailroam/queue/queuetest"
)

// outcome is what a fault at one upstream comes to: for the message, where the
// other upstream is well, where it has refused before, and where there is none;
// and for the upstream.
type outcome struct{ first, last, only, charged string }

// What may become of the message at the end of the first pass.
const (
	atOther = "at the other"
	waiting = "waits"
	bounced = "bounced"
	doubt   = "in doubt" // and goes nowhere else
)

// What may become of the upstream; one of several is parted by a slash.
const (
	well     = "up"
	fell     = "down network"
	stalls   = "down network/suspect network" // a probe may have ended the wait
	unproven = "down identity"
	resting  = "cooling session"
	account  = "cooling account"
	limited  = "cooling quota"
)

func elsewhere(charged string) outcome { return outcome{atOther, waiting, waiting, charged} }

// silent is what a fault comes to that is only noticed by its silence: by then
// the one that refused before may be asked again.
func silent(charged string) outcome { return outcome{atOther, atOther, waiting, charged} }

// stageFaults is the table of stages and faults, written from the tables of
// verdicts. Before MAIL nothing bounces and all is the upstream's fault; a 4xx
// or an unattributed 5xx from MAIL on leaves the upstream as it was; what is
// lost after the dot stays at that upstream.
var stageFaults = map[string]map[string]outcome{
	"connect": {
		"refused": elsewhere(fell),
		"silent":  silent(fell),
	},
	"tls": {
		"hang":    silent(stalls),
		"close":   elsewhere(fell + "/" + unproven),
		"reset":   elsewhere(fell + "/" + unproven),
		"451":     elsewhere(unproven), // in clear
		"554":     elsewhere(unproven),
		"421":     elsewhere(unproven),
		"garbage": elsewhere(unproven),
	},
	"greeting": {
		"hang":    silent(stalls),
		"close":   elsewhere(fell),
		"reset":   elsewhere(fell),
		"451":     elsewhere(fell),
		"421":     elsewhere(fell),
		"554":     elsewhere(fell + "/down policy"),
		"garbage": elsewhere(unproven),
	},
	"ehlo": {
		"hang":    silent(stalls),
		"close":   elsewhere(fell),
		"reset":   elsewhere(fell),
		"451":     elsewhere(fell),
		"421":     elsewhere(fell),
		"554":     elsewhere(fell + "/down policy"),
		"garbage": elsewhere(fell),
	},
	"starttls": {
		"hang":    silent(stalls),
		"close":   elsewhere(fell),
		"reset":   elsewhere(fell),
		"454":     elsewhere(fell),
		"421":     elsewhere(fell),
		"554":     elsewhere(unproven),
		"garbage": elsewhere(fell + "/" + unproven),
	},
	"auth": {
		"hang":    silent(resting),
		"close":   elsewhere(resting),
		"reset":   elsewhere(resting),
		"454":     elsewhere(limited),
		"421":     elsewhere(limited),
		"535":     elsewhere(account),
		"garbage": elsewhere(resting),
	},
	"mail": {
		"hang":         silent(resting),
		"close":        elsewhere(resting),
		"reset":        elsewhere(resting),
		"451":          elsewhere(well),
		"421":          elsewhere(resting),
		"554":          {atOther, waiting, bounced, well},
		"550 5.1.1 no": {atOther, waiting, bounced, well}, // no recipient was named
		"530 5.7.0 no": elsewhere(account),
		"garbage":      elsewhere(well),
	},
	"rcpt": {
		"hang":         silent(resting),
		"close":        elsewhere(resting),
		"reset":        elsewhere(resting),
		"451":          elsewhere(well),
		"421":          elsewhere(resting),
		"554":          {atOther, waiting, bounced, well},
		"550 5.1.1 no": {bounced, bounced, bounced, well},
		"450 4.2.1 no": {waiting, waiting, waiting, well}, // the same mailbox everywhere
		"garbage":      elsewhere(well),
	},
	"data": {
		"hang":    silent(resting),
		"close":   elsewhere(resting),
		"reset":   elsewhere(resting),
		"451":     elsewhere(well),
		"421":     elsewhere(resting),
		"554":     {atOther, waiting, bounced, well},
		"garbage": elsewhere(well),
	},
	"body": {
		"hang":            silent(resting),
		"close":           elsewhere(resting),
		"reset":           elsewhere(resting),
		"451":             elsewhere(well),
		"421":             elsewhere(resting),
		"554":             {atOther, waiting, bounced, well},
		"552 5.3.4 large": {atOther, waiting, bounced, well},
		"554 5.6.0 bad":   {bounced, bounced, bounced, well},
	},
	"dot": {
		"hang":          {doubt, doubt, doubt, resting},
		"close":         {doubt, doubt, doubt, resting},
		"reset":         {doubt, doubt, doubt, resting},
		"take; close":   {doubt, doubt, doubt, resting},
		"451":           elsewhere(well),
		"421":           elsewhere(resting),
		"554":           {atOther, waiting, bounced, well},
		"554 5.6.0 bad": {bounced, bounced, bounced, well},
		"garbage":       {doubt, doubt, doubt, resting},
	},
}

// within bounds how long a sick upstream may keep a message from a well one, by
// the stage at which it falls silent; all of set-up has setUp.
var within = map[string]time.Duration{"rcpt": time.Minute, "data": time.Minute, "body": 3*time.Minute + 5*time.Second}

const setUp = 18 * time.Second

// fromMail are the stages at which the message is known.
var fromMail = []string{"mail", "rcpt", "data", "body", "dot"}

// TestStageAndFaultAndPlace runs the whole way from queue to upstream for each
// stage, fault and place in the list.
func TestStageAndFaultAndPlace(t *testing.T) {
	id, err := sink.NewIdentity("127.0.0.1", "127.0.0.2")
	if err != nil {
		t.Fatal(err)
	}
	cells := 0
	defer func() {
		if cells < 10*7*3 {
			t.Errorf("%d cells, want 10 stages by 7 faults by 3 places", cells)
		}
	}()
	for stage, faulty := range stageFaults {
		for fault, f := range faulty {
			for place, want := range map[string]string{"first": f.first, "last": f.last, "only": f.only} {
				cells++
				t.Run(stage+"="+fault+" "+place, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						c := &cell{t: t, id: id, stage: stage, fault: fault, place: place}
						c.start()
						defer c.stop()
						c.run(want, strings.Split(f.charged, "/"))
					})
				})
			}
		}
	}
}

// cell is one stage with one fault at one place in the list.
type cell struct {
	t                   *testing.T
	id                  *sink.Identity
	stage, fault, place string

	wire    *sink.Network
	sinks   map[string]*sink.Server
	store   queue.Store
	session queue.Session
	health  *health.Monitor
	d       *Dispatcher
	stop    func()
}

var cellHosts = map[string]string{"sick": "127.0.0.1", "other": "127.0.0.2"}

func (c *cell) names() []string {
	return map[string][]string{"first": {"sick", "other"}, "last": {"other", "sick"}, "only": {"sick"}}[c.place]
}

func (c *cell) start() {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	c.wire, c.sinks, c.store = sink.NewNetwork(), map[string]*sink.Server{}, queuetest.NewMemory()
	var err error
	if c.session, err = c.store.Join(ctx); err != nil {
		c.t.Fatal(err)
	}
	log := slog.New(slog.NewTextHandler(c.t.Output(), nil))
	config := Config{
		Policy: Policy{Schedule: Schedule{30 * time.Second, 30 * time.Minute}, Expire: 5 * 24 * time.Hour, PolicyHold: 24 * time.Hour},
		Keep:   7 * 24 * time.Hour, Upstreams: map[string]Upstream{},
	}
	var routes []Route
	var targets []health.Target
	var clients []*relay.Upstream
	for _, n := range c.names() {
		l, err := c.wire.Listen("tcp", cellHosts[n]+":25")
		if err != nil {
			c.t.Fatal(err)
		}
		s := sink.New(c.sinkOptions())
		c.sinks[n] = s
		running.Go(func() { _ = s.Serve(ctx, l) })
		u := relay.New(c.relayOptions(n))
		clients = append(clients, u)
		routes = append(routes, Route{Name: n})
		config.Upstreams[n] = Upstream{Slots: 4, Relay: u}
		targets = append(targets, health.Target{Name: n, Hosts: []string{cellHosts[n]}, Probe: func(ctx context.Context) health.Fault {
			return ProbeFault(u.Probe(ctx), relay.Rules{})
		}})
	}
	config.Routes = NewRoutes(routes)
	c.health = health.New(health.Options{Targets: targets, Log: log})
	running.Go(func() { _ = c.health.Run(ctx) })
	c.d = New(Options{Store: c.store, Session: c.session, Health: c.health, Hostname: "gw.example.org", Log: log}, config)
	dctx, dcancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = c.d.Run(dctx)
	}()
	c.stop = func() {
		dcancel()
		<-done
		for _, u := range clients {
			u.CloseIdle()
		}
		cancel()
		running.Wait()
	}
	c.pass(time.Second)
}

func (c *cell) sinkOptions() sink.Options {
	o := sink.Options{Keep: true, Listen: c.wire.Listen}
	switch c.stage {
	case "tls":
		o.TLS, o.Implicit = c.id.Server, true
	case "starttls":
		o.TLS = c.id.Server
	case "auth":
		o.Users = map[string]string{"ann": "pw"}
	}
	return o
}

func (c *cell) relayOptions(name string) relay.Options {
	e := relay.Endpoint{Mode: relay.Insecure, Host: cellHosts[name], Port: "25", Roots: c.id.Roots}
	o := relay.Options{Name: name, Hello: "client.example", Dial: c.wire.Dial}
	switch c.stage {
	case "tls":
		e.Mode = relay.Implicit
	case "starttls":
		e.Mode = relay.RequireStartTLS
	case "auth":
		o.Username, o.Password = "ann", func(context.Context) (string, error) { return "pw", nil }
	}
	o.Endpoints = []relay.Endpoint{e}
	return o
}

func (c *cell) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// strike begins the fault, after all were found well.
func (c *cell) strike() {
	switch sick := c.sinks["sick"]; {
	case c.fault == "refused":
		sick.Cut()
	case c.fault == "silent":
		c.wire.Silence(cellHosts["sick"]+":25", true)
	case slices.Contains(fromMail, c.stage):
		sick.SetFaults(c.parse(c.stage + "#1=" + c.fault)) // the notice of a bounce gets through
	default:
		sick.SetFaults(c.parse(c.stage + "=" + c.fault))
	}
	if c.place == "last" { // so that the sick one is asked at all
		c.sinks["other"].SetFaults(c.parse("mail#1=451 4.3.0 not this time"))
	}
}

func (c *cell) cure() {
	c.sinks["sick"].SetFaults()
	c.wire.Silence(cellHosts["sick"]+":25", false)
	if c.fault == "refused" {
		if err := c.sinks["sick"].Restore(); err != nil {
			c.t.Fatal(err)
		}
	}
}

func (c *cell) parse(s string) sink.Fault {
	f, err := sink.ParseFault(s)
	if err != nil {
		c.t.Fatal(err)
	}
	return f
}

// run holds what the first pass came to, and that all ends well once the fault
// is gone: with one copy, but where it was in doubt.
func (c *cell) run(want string, charged []string) {
	t := c.t
	c.strike()
	began := time.Now()
	id := c.submit()
	m, status := c.settled(id)
	if got := c.fate(m); got != want {
		t.Fatalf("the message: %s, want %s; timeline %+v", got, want, m.Attempts)
	}
	if got := strings.TrimSpace(status.State + " " + string(status.Kind)); !slices.Contains(charged, got) {
		t.Errorf("the upstream is %s (%s), want one of %q", got, status.Why, charged)
	}
	if most := max(within[c.stage], setUp) + time.Second; c.place == "first" && want == atOther && time.Since(began) > most {
		t.Errorf("it took %v, want %v at most", time.Since(began), most)
	}
	c.cure()
	for end := time.Now().Add(2 * time.Hour); c.get(id).State != queue.Done && time.Now().Before(end); {
		c.pass(10 * time.Second)
	}
	c.pass(5 * time.Minute)
	m = c.get(id)
	copies, notices := c.arrived("bob@example.net"), c.arrived("ann@example.com")
	switch {
	case want == bounced:
		if m.Recipients[0].State != queue.Failed || copies != 0 || notices != 1 {
			t.Errorf("at the end %s, %d copies, %d notices", m.Recipients[0].State, copies, notices)
		}
	case m.Recipients[0].State != queue.Delivered || notices != 0:
		t.Errorf("at the end %s, %d notices; timeline %+v", m.Recipients[0].State, notices, m.Attempts)
	case c.fault == "take; close" && copies == 2: // the price of not losing it
	case copies != 1:
		t.Errorf("%d copies", copies)
	}
	if want == doubt && c.place != "only" && c.sinks["other"].Count() > 0 {
		t.Error("the other has it, though the one that may hold a copy came back")
	}
}

// settled waits until the first pass is over, and gives the sick upstream as it
// is then.
func (c *cell) settled(id queue.ID) (queue.Message, health.Status) {
	for range 20 * 60 * 20 {
		synctest.Wait()
		if m := c.get(id); m.State != queue.Leased && len(m.Attempts) > 0 {
			all := c.health.Status()
			return m, all[slices.IndexFunc(all, func(s health.Status) bool { return s.Name == "sick" })]
		}
		time.Sleep(50 * time.Millisecond)
	}
	c.t.Fatal("the first pass never ended")
	panic("unreachable")
}

func (c *cell) fate(m queue.Message) string {
	r := m.Recipients[0]
	switch {
	case r.State == queue.Delivered && r.Last.Upstream == "other":
		return atOther
	case r.State == queue.Failed:
		return bounced
	case r.State == queue.Pending && r.Doubt != nil && r.Doubt.Upstream == "sick":
		return doubt
	case r.State == queue.Pending && m.State == queue.Queued && r.Doubt == nil:
		return waiting
	}
	return fmt.Sprintf("%s, %s, doubt %v", m.State, r.State, r.Doubt)
}

func (c *cell) submit() queue.ID {
	id := queue.NewID()
	draft, err := c.session.NewDraft(context.Background(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	lines := 1
	if c.stage == "body" { // more than fits on the way
		lines = 5000
	}
	text := "Subject: hello\r\n\r\n" + strings.Repeat(strings.Repeat("x", 76)+"\r\n", lines)
	if _, err := io.WriteString(draft, text); err != nil {
		c.t.Fatal(err)
	}
	msg := queue.NewMessage{ID: id, Accepted: time.Now().UTC(), ReversePath: "ann@example.com", Recipients: queue.To("bob@example.net")}
	first := c.d.File(&msg)
	claim, err := draft.Commit(context.Background(), first, msg)
	if err != nil {
		c.t.Fatal(err)
	}
	if first != "" && !c.d.Take(claim) {
		c.t.Fatal("nobody takes it")
	}
	return id
}

func (c *cell) get(id queue.ID) queue.Message {
	m, err := c.store.Get(context.Background(), id)
	if err != nil {
		c.t.Fatal(err)
	}
	return m
}

// arrived counts the messages for an address.
func (c *cell) arrived(to string) (n int) {
	for _, s := range c.sinks {
		for _, m := range s.Messages() {
			if slices.Contains(m.To, to) {
				n++
			}
		}
	}
	return n
}
