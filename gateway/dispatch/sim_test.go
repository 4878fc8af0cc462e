package dispatch

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"hash/fnv"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/relay"
	"mailroam/health/netmon"
	"mailroam/queue"
	"mailroam/queue/queuetest"
)

var (
	simSeed = flag.Uint64("sim.seed", 0, "run this simulation only")
	simRuns = flag.Int("sim.runs", 0, "how many simulations to run, whatever they meet")
)

// TestSimulation lets chance play upstreams, operator, power supply and
// reloads, then heals everything and looks at what became of the mail: all of
// it is done, each recipient was delivered once or told as failed, a second copy
// exists only where a dot was lost or a crash fell into a pass, at no time had
// two upstreams the body of one message, and nobody was told of a failure while
// an upstream was left that might have taken it.
func TestSimulation(t *testing.T) {
	if *simSeed != 0 {
		simulate(t, *simSeed, t.Output())
		return
	}
	runs, most := 50, 1000 // a kind of trouble that is rare may need some more
	switch {
	case *simRuns > 0:
		runs, most = *simRuns, *simRuns
	case os.Getenv("MAILROAM_TORTURE") != "":
		runs = most
	}
	base := rand.Uint64()
	var copies, doubts, bounced, hedges, passedOver, barred, n int
	met := func() bool { return copies > 0 && bounced > 0 && passedOver > 0 && barred > 0 }
	for ; n < runs || n < most && !met(); n++ {
		s := simulate(t, base+uint64(n)|1<<63, io.Discard)
		for key, c := range s.rcpts {
			doubts += c.doubts
			copies += max(0, c.copies-1)
			if s.told[key] > 0 {
				bounced++
			}
		}
		hedges += s.hedges
		passedOver += s.passedOver
		barred += s.barred
		if t.Failed() {
			return
		}
	}
	t.Logf("%d runs: %d doubts, %d second copies, %d bounces, %d hedges, %d passed over, %d barred", n, doubts, copies, bounced, hedges, passedOver, barred)
	if *simRuns == 0 && !met() {
		t.Error("the simulation met no trouble worth its name")
	}
}

// sim is one simulated life.
type sim struct {
	*world
	seed  uint64
	names []string
	slots int
	hedge time.Duration
	knobs Policy     // what people may want otherwise
	rnd   *rand.Rand // of the one goroutine that plays fate
	ids   []queue.ID
	old   []func() // ends of the lives that crashed
	grave chan struct{}
	done  []queue.Message // forgotten by the store

	mu                 sync.Mutex // guards what follows
	life               int        // of the process; what belongs to an older one is dead
	healed             bool
	down               map[string]bool
	away               bool // in no network
	asked              map[string]int
	open               map[string]int
	rcpts              map[string]*fate
	told               map[string]int      // notices that name a recipient, by its address
	bodies             map[queue.ID]string // who has the body of a message now
	hedges, passedOver int
	barred             int
	routes             []Routes // of all configurations so far

	settles map[string]int // by message and minute
}

// fate is what the outside knows of one recipient. Addresses are used once;
// those of notices are told apart by the notice's ID.
type fate struct{ copies, doubts int }

func simulate(t *testing.T, seed uint64, log io.Writer) *sim {
	s := &sim{
		seed: seed, rnd: rand.New(rand.NewPCG(seed, 0)),
		down: map[string]bool{}, asked: map[string]int{}, open: map[string]int{}, rcpts: map[string]*fate{}, told: map[string]int{}, bodies: map[queue.ID]string{}, settles: map[string]int{},
	}
	s.names = []string{"a", "b", "c"}[:1+s.rnd.IntN(3)]
	s.slots = 1 + s.rnd.IntN(4)
	s.hedge = []time.Duration{0, 500 * time.Millisecond, 2 * time.Second}[s.rnd.IntN(3)]
	s.knobs = Policy{
		InDoubt:       oneOf(s.rnd, []InDoubt{"", SameUpstream, FailOver, HoldInDoubt}),
		ContentReject: oneOf(s.rnd, []ContentReject{"", BounceContent, FailOverContent, HoldContent}),
		SecondOpinion: oneOf(s.rnd, []SecondOpinion{"", Unattributed, Always, NeverAsk}),
		SoftBounce:    s.rnd.IntN(8) == 0,
		Warn:          oneOf(s.rnd, []time.Duration{0, 10 * time.Minute, time.Hour}),
		PolicyHold:    oneOf(s.rnd, []time.Duration{time.Minute, 20 * time.Minute, 24 * time.Hour}),
	}
	synctest.Test(t, func(t *testing.T) {
		s.grave = make(chan struct{})
		s.world = &world{t: t, store: remembering{queuetest.NewMemory(), &s.done}, peers: map[string]*peer{}, log: log}
		for _, n := range s.names {
			p := &peer{name: n}
			p.whole = func(ctx context.Context, d relay.Delivery) relay.Result { return s.deliver(ctx, p, d) }
			p.warm = func(ctx context.Context) error { return s.warmUp(ctx, p) }
			s.peers[n] = p
		}
		s.edit = func(c *Config) {
			c.Keep, c.Hedge = time.Minute, s.hedge
			k := s.knobs
			c.InDoubt, c.ContentReject, c.SecondOpinion, c.SoftBounce = k.InDoubt, k.ContentReject, k.SecondOpinion, k.SoftBounce
			c.Warn, c.PolicyHold = k.Warn, k.PolicyHold
			s.mu.Lock()
			s.routes = append(s.routes, c.Routes)
			s.mu.Unlock()
			for n := range c.Upstreams {
				c.Upstreams[n] = Upstream{Relay: s.peers[n], Slots: s.slots}
			}
		}
		s.wrap = func(ses queue.Session) queue.Session { return fillingUp{ses, s} }
		s.start(s.names)
		for range 8 + s.rnd.IntN(20) {
			s.event()
		}
		s.heal()
		s.end()
		close(s.grave)
		for _, end := range s.old {
			end()
		}
		s.judge()
		if t.Failed() {
			t.Logf("to see it again: go test -run TestSimulation -v -sim.seed=%d", s.seed)
		}
	})
	return s
}

// remembering keeps a copy of the finished mail that a store forgets.
type remembering struct {
	queue.Store
	done *[]queue.Message
}

func (r remembering) Apply(ctx context.Context, f queue.Filter, op queue.Op) (queue.Affected, error) {
	if op.Verb == queue.OpForget {
		for m, err := range r.List(ctx, f) {
			if err != nil {
				return queue.Affected{}, err
			}
			*r.done = append(*r.done, m)
		}
	}
	return r.Store.Apply(ctx, f, op)
}

// fillingUp is a session on a disk that is full now and then.
type fillingUp struct {
	queue.Session
	s *sim
}

func (f fillingUp) full() error {
	f.s.mu.Lock()
	defer f.s.mu.Unlock()
	if !f.s.healed && rand.IntN(10) == 0 {
		return queue.ErrFull
	}
	return nil
}

func (f fillingUp) Settle(ctx context.Context, c queue.Claim, o queue.Outcome) error {
	f.s.mu.Lock()
	minute := fmt.Sprint(c.ID, time.Now().Truncate(time.Minute))
	if f.s.settles[minute]++; f.s.settles[minute] == 30 {
		f.s.t.Errorf("%s is passed on again and again at %v:%s", c.ID, time.Now(), timeline(c.Message))
	}
	f.s.mu.Unlock()
	f.s.weigh(c, o)
	if err := f.full(); err != nil {
		return err
	}
	return f.Session.Settle(ctx, c, o)
}

func (f fillingUp) MarkDot(ctx context.Context, c queue.Claim, rcpts []int, upstream string, known []queue.RcptResult) error {
	if err := f.full(); err != nil {
		return err
	}
	return f.Session.MarkDot(ctx, c, rcpts, upstream, known)
}

func (f fillingUp) Claim(ctx context.Context, r queue.ClaimRequest) ([]queue.Claim, error) {
	if err := f.full(); err != nil {
		return nil, err
	}
	return f.Session.Claim(ctx, r)
}

// weigh looks at every failure as it is about to be told: nobody was left who
// might have taken the mail.
func (s *sim) weigh(c queue.Claim, o queue.Outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o.Barred != 0 && c.Barred == 0 {
		s.barred++
	}
	for _, r := range o.Rcpts {
		if r.State != queue.Failed {
			continue
		}
		if s.knobs.SoftBounce {
			s.t.Errorf("%s failed, though bounces are soft: %+v", c.ID, r)
		}
		// One of the last configurations is that of the pass.
		right := slices.ContainsFunc(s.routes[max(0, len(s.routes)-6):], func(rs Routes) bool { return s.right(c, r, rs) })
		if !right {
			s.t.Errorf("%s failed although somebody was left: %+v; routes %v;%s", c.Recipients[r.Index].Address, r, s.routes[len(s.routes)-1].list, timeline(c.Message))
		}
	}
}

// right says whether a recipient may fail, by these routes.
func (s *sim) right(c queue.Claim, r queue.RcptResult, rs Routes) bool {
	if r.Last.Scope == "recipient" || r.Last.Scope == "message" {
		return true
	}
	m := c.Message
	voices, objects, all := 0, false, true
	for _, n := range rs.Eligible(&m) {
		i := slices.IndexFunc(r.Said, func(a queue.Answer) bool { return a.Upstream == n && a.Permanent() })
		scope := ""
		if i >= 0 {
			scope = r.Said[i].Scope
		}
		switch scope {
		case "unknown", "recipient":
			voices++
		case "sender", "policy":
			objects = true
		case "size", "message":
		default:
			all = false
		}
	}
	if voices >= 2 || voices == 1 && s.knobs.SecondOpinion == NeverAsk || all && !objects {
		return true
	}
	return all && c.Barred != 0 && s.health.Odometer()-c.Barred >= s.knobs.PolicyHold
}

// event is one turn of fate.
func (s *sim) event() {
	switch k := s.rnd.IntN(100); {
	case k < 35:
		for range 1 + s.rnd.IntN(3) {
			s.mail()
		}
	case k < 50:
		n := s.names[s.rnd.IntN(len(s.names))]
		s.mu.Lock()
		s.down[n] = !s.down[n]
		s.reach()
		s.mu.Unlock()
	case k < 70:
		verb := []queue.Verb{queue.OpHold, queue.OpRelease, queue.OpRetry, queue.OpDrop, queue.OpFail}[s.rnd.IntN(5)]
		var ids []queue.ID
		for range 1 + s.rnd.IntN(4) {
			if len(s.ids) > 0 {
				ids = append(ids, s.ids[s.rnd.IntN(len(s.ids))])
			}
		}
		if ids != nil {
			s.act(queue.Filter{IDs: ids, States: []queue.State{queue.Queued, queue.Leased, queue.Held}}, verb)
		}
	case k < 78:
		s.crash()
	case k < 82:
		s.end()
		if st, _ := s.store.Stats(context.Background()); st.Leased != 0 {
			s.t.Errorf("%d messages are leased after an orderly stop", st.Leased)
		}
		s.mu.Lock()
		s.life++
		s.mu.Unlock()
		s.start(s.names)
	case k < 90:
		names := slices.Clone(s.names)
		s.rnd.Shuffle(len(names), func(i, j int) { names[i], names[j] = names[j], names[i] })
		c := s.config(names[:1+s.rnd.IntN(len(names))])
		if s.rnd.IntN(3) == 0 { // not for every sender
			c.Routes.list[0].Senders = []string{"@x.example"}
			c.Routes = NewRoutes(c.Routes.list)
		}
		s.mu.Lock()
		s.routes = append(s.routes, c.Routes)
		s.mu.Unlock()
		s.d.Set(c)
	case k < 96:
		to := []netmon.Snapshot{{}, home, home}[s.rnd.IntN(3)]
		s.mu.Lock()
		s.away = !to.Leads()
		s.reach()
		s.mu.Unlock()
		s.health.Network(netmon.Delta{Major: true, Offline: s.away, New: to})
		s.d.Roamed()
	}
	longest := []time.Duration{time.Millisecond, 3 * time.Second, 30 * time.Second, 12 * time.Minute}[s.rnd.IntN(4)]
	s.pass(time.Duration(s.rnd.Int64N(int64(longest))))
}

// reach makes known who can be reached. The caller holds s.mu.
func (s *sim) reach() {
	for n, p := range s.peers {
		p.set(s.down[n] || s.away)
	}
}

func (s *sim) mail() {
	n := len(s.ids)
	from := fmt.Sprintf("s%d@%s.example", n, []string{"x", "y"}[s.rnd.IntN(2)])
	if s.rnd.IntN(8) == 0 {
		from = ""
	}
	var rcpts []string
	for i := range 1 + s.rnd.IntN(3) {
		rcpts = append(rcpts, fmt.Sprintf("m%dr%d@example.net", n, i))
	}
	s.ids = append(s.ids, s.submit(from, rcpts...))
}

func (s *sim) act(f queue.Filter, v queue.Verb) {
	if _, err := s.store.Apply(context.Background(), f, queue.Op{Verb: v, Reason: "by the operator", By: "operator", At: time.Now(), Notice: s.d.Notice}); err != nil {
		s.t.Error(err)
	}
	s.d.Pardon()
}

// crash ends this life between two instructions: nothing it has begun comes to
// an end, but what an upstream has taken is taken.
func (s *sim) crash() {
	s.mu.Lock()
	for m, err := range s.store.List(context.Background(), queue.Filter{States: []queue.State{queue.Leased}}) {
		if err != nil {
			s.t.Error(err)
		}
		for _, i := range m.Pending() {
			s.of(&m, m.Recipients[i].Address).doubts++
		}
	}
	s.life++
	clear(s.open)
	clear(s.bodies)
	s.mu.Unlock()
	old := make(chan struct{})
	end := s.end
	s.start(s.names) // its Join fences everything before
	go func() {
		defer close(old)
		end()
	}()
	s.old = append(s.old, func() { <-old })
}

// heal makes everything well, and gives the mail its time.
func (s *sim) heal() {
	s.mu.Lock()
	s.healed = true
	clear(s.down)
	s.away = false
	s.reach()
	s.mu.Unlock()
	s.pass(2 * time.Minute) // the open deliveries end as they may
	s.end()                 // forgets what health and dispatch hold against anybody
	s.start(s.names)
	for _, d := range []time.Duration{2*time.Hour + 40*time.Minute, time.Hour} { // a doubt's wait and a backoff
		s.act(queue.Filter{States: []queue.State{queue.Held}}, queue.OpRelease)
		s.pass(d)
	}
}

// of finds a recipient's fate. The caller holds s.mu.
func (s *sim) of(m *queue.Message, address string) *fate {
	if m.Notice {
		address += " " + m.ID.String()
	}
	if s.rcpts[address] == nil {
		s.rcpts[address] = &fate{}
	}
	return s.rcpts[address]
}

var (
	idLine   = regexp.MustCompile(`(?m)^(?:Subject: |Message-ID: <)([0-9A-Z]{26})`)
	toldLine = regexp.MustCompile(`(?m)^Final-Recipient: rfc822; (\S+)\r\nAction: failed\r$`)
)

// deliver is an upstream in the hands of fate.
func (s *sim) deliver(ctx context.Context, p *peer, d relay.Delivery) relay.Result {
	s.mu.Lock()
	who := p.name + " " + d.Recipients[0].Address
	s.asked[who]++
	h := fnv.New64a()
	fmt.Fprint(h, who, s.asked[who])
	rnd := rand.New(rand.NewPCG(s.seed, h.Sum64()))
	life, healed, down := s.life, s.healed, s.down[p.name] || s.away
	if s.open[p.name]++; s.open[p.name] > s.slots {
		s.t.Errorf("%s carries %d messages in %d slots", p.name, s.open[p.name], s.slots)
	}
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.life == life {
			s.open[p.name]--
		}
	}()

	trouble := func(n int) bool { return !healed && rnd.IntN(n) == 0 }
	// dawdle takes its time, and says whether the process died meanwhile.
	dawdle := func() (dead bool) {
		if trouble(3) {
			time.Sleep(time.Duration(rnd.Int64N(int64(20 * time.Second))))
		}
		s.mu.Lock()
		dead = s.life != life
		s.mu.Unlock()
		if dead {
			<-s.grave
		}
		return dead
	}
	ghost := func() relay.Result { return stopped(d, context.Canceled) }

	// Before the reply to MAIL it may be quiet for long, and is broken off.
	if trouble(3) {
		set := d
		if rnd.IntN(4) == 0 { // not in the middle of a login
			set.GiveUp = nil
		}
		err := waits(ctx, set, time.Duration(rnd.Int64N(int64(20*time.Second))))
		switch {
		case dawdle():
			return ghost()
		case errors.Is(err, relay.ErrStopped):
			return stopped(d, err)
		case err != nil:
			return all(d, relay.RcptResult{Stage: relay.Connect, Err: err})
		}
	}
	switch {
	case down:
		return all(d, fault(relay.Connect, "connection refused"))
	case trouble(6):
		return all(d, oneOf(rnd, setupTroubles))
	case trouble(6):
		return all(d, oneOf(rnd, mailTroubles))
	}
	if !d.Begin() {
		s.mu.Lock()
		s.passedOver++
		s.mu.Unlock()
		return overtaken(d)
	}
	res := all(d, relay.RcptResult{Stage: relay.Mail})
	res.Served = true
	var accepted []int
	for i := range d.Recipients {
		if trouble(4) {
			res.Rcpts[i] = oneOf(rnd, rcptTroubles)
		} else {
			accepted = append(accepted, i)
		}
	}
	tell := func(is []int, r relay.RcptResult) {
		for _, i := range is {
			res.Rcpts[i] = r
		}
	}
	stop := func(is []int, err error) relay.Result {
		tell(is, relay.RcptResult{Stage: relay.Body, Err: fmt.Errorf("%w: %w", relay.ErrStopped, err)})
		res.Stopped = err
		return res
	}
	switch {
	case len(accepted) == 0:
		return res
	case trouble(10):
		tell(accepted, oneOf(rnd, dataTroubles))
		return res
	}
	body, err := d.Body(ctx)
	if err != nil {
		return stop(accepted, err)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return stop(accepted, err)
	}
	defer s.has(p, text, life)()
	dots := [][]int{accepted}
	if trouble(3) { // it takes one recipient at a time
		dots = slices.Collect(slices.Chunk(accepted, 1))
	}
	for k, dot := range dots {
		rest := slices.Concat(dots[k:]...)
		if dawdle() {
			return ghost()
		}
		switch {
		case trouble(12):
			tell(rest, fault(relay.Body, "connection reset"))
			return res
		case trouble(15):
			return stop(rest, relay.ErrRoamed)
		}
		if err := d.BeforeDot(ctx, dot, res.Rcpts); err != nil {
			return stop(rest, err)
		}
		if ctx.Err() != nil {
			return stop(rest, ctx.Err())
		}
		switch {
		case trouble(6):
			s.lose(d, dot, text, rnd.IntN(2) == 0)
			if dawdle() {
				return ghost()
			}
			tell(rest, reply(relay.Rcpt, 452, "4.5.3", "one at a time"))
			tell(dot, relay.RcptResult{Stage: relay.Dot, Err: errors.New("connection reset"), InDoubt: true, Unacked: rnd.IntN(2) == 0})
			return res
		case trouble(8):
			if dawdle() {
				return ghost()
			}
			tell(dot, oneOf(rnd, dotTroubles))
		case trouble(2): // slow to take it
			if dawdle() {
				return ghost()
			}
			s.take(d, dot, text)
			tell(dot, reply(relay.Dot, 250, "2.0.0", "ok"))
		default: // slow to say so
			s.take(d, dot, text)
			if dawdle() {
				return ghost()
			}
			tell(dot, reply(relay.Dot, 250, "2.0.0", "ok"))
		}
	}
	return res
}

// has notes that an upstream has the body of a message, until it has it no more.
func (s *sim) has(p *peer, text []byte, life int) (until func()) {
	id := s.message(text).ID
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life != life {
		return func() {}
	}
	if who := s.bodies[id]; who != "" {
		s.t.Errorf("%s has the body of %s, and so has %s", p.name, id, who)
	}
	s.bodies[id] = p.name
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.life == life {
			delete(s.bodies, id)
		}
	}
}

// warmUp gets an upstream in the hands of fate ready.
func (s *sim) warmUp(ctx context.Context, p *peer) error {
	s.mu.Lock()
	s.hedges++
	broken := s.down[p.name] || s.away || !s.healed && rand.IntN(4) == 0
	s.mu.Unlock()
	if !pause(ctx, rand.N(2*time.Second)) {
		return &relay.Error{Stage: relay.Connect, Err: ctx.Err()}
	}
	if broken {
		return &relay.Error{Stage: relay.Connect, Err: errors.New("connection refused")}
	}
	return nil
}

var (
	setupTroubles = []relay.RcptResult{
		fault(relay.Connect, "no route to host"),
		{Stage: relay.Connect, Err: relay.ErrGivenUp},
		fault(relay.TLS, "unexpected EOF"),
		reply(relay.Greeting, 421, "", "busy"), reply(relay.Greeting, 554, "", "go away"), fault(relay.Hello, "i/o timeout"),
		reply(relay.Auth, 454, "4.7.0", "later"), reply(relay.Auth, 535, "5.7.8", "bad credentials"), fault(relay.Auth, "connection reset"),
		{Stage: relay.Auth, Err: relay.ErrPassword},
	}
	mailTroubles = []relay.RcptResult{
		reply(relay.Mail, 421, "4.3.2", "closing"), reply(relay.Mail, 451, "4.3.0", "not now"), reply(relay.Mail, 550, "", "no"),
		reply(relay.Mail, 552, "5.3.4", "too big"), reply(relay.Mail, 550, "5.7.1", "not your sender"), reply(relay.Mail, 452, "4.7.28", "quota"),
		reply(relay.Mail, 421, "4.7.0", "Too many concurrent connections"), reply(relay.Mail, 550, "5.1.8", "bad outbound sender"),
		reply(relay.Mail, 451, "4.7.1", "greylisted, try again in 300 seconds"),
		fault(relay.Mail, "connection reset"),
	}
	rcptTroubles = []relay.RcptResult{
		reply(relay.Rcpt, 450, "4.2.1", "busy"), reply(relay.Rcpt, 451, "4.7.1", "greylisted"), reply(relay.Rcpt, 452, "4.5.3", "too many"),
		reply(relay.Rcpt, 550, "5.1.1", "no such user"), reply(relay.Rcpt, 550, "", "no"), reply(relay.Rcpt, 554, "5.7.1", "Relay access denied"),
		reply(relay.Rcpt, 550, "5.7.1", "policy"), reply(relay.Rcpt, 421, "4.3.2", "closing"),
	}
	dataTroubles = []relay.RcptResult{
		reply(relay.Data, 451, "4.3.0", "not now"), reply(relay.Data, 554, "", "no"), fault(relay.Data, "connection reset"),
	}
	dotTroubles = []relay.RcptResult{
		reply(relay.Dot, 451, "4.3.0", "not now"), reply(relay.Dot, 554, "", "no"), reply(relay.Dot, 554, "5.6.0", "malformed"),
		reply(relay.Dot, 421, "4.3.2", "closing"), reply(relay.Dot, 550, "5.7.26", "unauthenticated"), reply(relay.Dot, 552, "5.2.3", "too big"),
		reply(relay.Dot, 550, "5.4.5", "daily limit"), reply(relay.Dot, 550, "5.7.1", "not allowed"), reply(relay.Dot, 550, "5.7.509", "not your domain"),
	}
)

func oneOf[T any](rnd *rand.Rand, from []T) T { return from[rnd.IntN(len(from))] }

// message finds what a delivery is about.
func (s *sim) message(text []byte) queue.Message {
	id, err := queue.ParseID(string(idLine.FindSubmatch(text)[1]))
	if err != nil {
		s.t.Fatal(err)
	}
	return s.get(id)
}

// take is an upstream's accepting of a copy. At that moment the recipient must
// be wanted still.
func (s *sim) take(d relay.Delivery, dot []int, text []byte) {
	m := s.message(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range dot {
		address := d.Recipients[i].Address
		k := slices.IndexFunc(m.Recipients, func(r queue.Recipient) bool { return r.Address == address })
		if m.State != queue.Leased || m.Recipients[k].State != queue.Pending {
			s.t.Errorf("%s was sent while %s, to %s which is %s", m.ID, m.State, address, m.Recipients[k].State)
		}
		f := s.of(&m, address)
		if f.copies++; m.Notice && f.copies == 1 {
			for _, r := range toldLine.FindAllSubmatch(text, -1) {
				s.told[string(r[1])]++
			}
		}
	}
}

// lose is a dot whose answer does not come.
func (s *sim) lose(d relay.Delivery, dot []int, text []byte, taken bool) {
	if taken {
		s.take(d, dot, text)
	}
	m := s.message(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, i := range dot {
		s.of(&m, d.Recipients[i].Address).doubts++
	}
}

// judge looks at the end of it all.
func (s *sim) judge() {
	mail := s.done
	for m, err := range s.store.List(context.Background(), queue.Filter{States: []queue.State{queue.Queued, queue.Leased, queue.Held, queue.Done}}) {
		if err != nil {
			s.t.Fatal(err)
		}
		mail = append(mail, m)
	}
	if len(mail) < len(s.ids) {
		s.t.Errorf("of %d messages %d are left", len(s.ids), len(mail))
	}
	for _, m := range mail {
		if m.State != queue.Done {
			s.t.Errorf("%s is %s (%q), due %v; %+v", m.ID, m.State, m.Held.Reason, m.Due, m.Attempts)
		}
		for _, r := range m.Recipients {
			f := s.of(&m, r.Address)
			told := s.told[r.Address]
			var wrong string
			switch {
			case f.copies > 1+f.doubts:
				wrong = "second copies without a doubt"
			case r.State == queue.Delivered && f.copies == 0:
				wrong = "nobody has it"
			case r.State != queue.Delivered && f.copies > 0 && f.doubts == 0:
				wrong = "delivered all the same"
			case (r.State == queue.Failed || r.State == queue.Expired) && m.ReversePath != "" && told != 1:
				wrong = "not told once"
			case (r.State == queue.Delivered || r.State == queue.Dropped) && told != 0:
				wrong = "told as failed"
			}
			if wrong != "" {
				s.t.Errorf("%s: <%s> to %s is %s, with %d copies, %d doubts, told %d times; timeline:%s",
					wrong, m.ReversePath, r.Address, r.State, f.copies, f.doubts, told, timeline(m))
			}
		}
	}
	for n := range s.peers {
		if taken := s.d.slots[n] - s.d.asked[n]; taken != 0 {
			s.t.Errorf("%d slots of %s never came back", taken, n)
		}
	}
}

func timeline(m queue.Message) string {
	var b strings.Builder
	for _, a := range m.Attempts {
		fmt.Fprintf(&b, "\n  %s %s %s %v %s %d %s interrupted=%v", a.At.Format(time.TimeOnly), a.Upstream, a.Stage, a.Rcpts, a.Verdict, a.Code, a.Text, a.Interrupted)
	}
	return b.String()
}
