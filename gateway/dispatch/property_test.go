package dispatch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// line is a reply that servers really give, with what follows from the tables.
type line struct {
	at      relay.Stage
	reply   relay.Reply
	verdict relay.Verdict
	scopes  []relay.Scope // one of them
}

func (l line) says(scopes ...relay.Scope) bool {
	return slices.ContainsFunc(l.scopes, func(s relay.Scope) bool { return slices.Contains(scopes, s) })
}

var enhancedCode = regexp.MustCompile(`(?m)^([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: |$)`)

// hear makes a reply of its code and text, as they are read from the wire.
func hear(code int, text string) relay.Reply {
	r := relay.Reply{Code: code, Text: text}
	if m := enhancedCode.FindString(text); m != "" && int(m[0]-'0') == code/100 {
		r.Enhanced = strings.TrimSpace(m)
	}
	return r
}

// corpus reads the replies whose meaning was written down by hand; known says
// whether those of known providers are wanted, too.
func corpus(t testing.TB, known bool) []line {
	t.Helper()
	file, err := os.ReadFile("../relay/testdata/replies.txt")
	if err != nil {
		t.Fatal(err)
	}
	stages := map[string]relay.Stage{}
	for s := relay.Resolve; s <= relay.Dot; s++ {
		stages[s.String()] = s
	}
	var lines []line
	for l := range strings.Lines(string(file)) {
		f := strings.Split(l, "|")
		if l[0] == '#' || len(f) != 7 || !known && strings.TrimSpace(f[0]) != "-" {
			continue
		}
		texts := strings.Split(strings.TrimSpace(f[2]), `\n`)
		code, err := strconv.Atoi(texts[0][:3])
		if err != nil { // what is no reply cannot be had here
			continue
		}
		for i := range texts {
			texts[i] = texts[i][4:]
		}
		c := line{at: stages[strings.TrimSpace(f[1])], reply: hear(code, strings.Join(texts, "\n")), verdict: relay.Verdict(strings.TrimSpace(f[3]))}
		for s := range strings.SplitSeq(strings.TrimSpace(f[4]), "/") {
			c.scopes = append(c.scopes, relay.Scope(s))
		}
		lines = append(lines, c)
	}
	if len(lines) < 100 {
		t.Fatalf("%d replies only", len(lines))
	}
	return lines
}

// weigher is Policy.Judge, with the classification that it asks for, or what
// stands in for it in a control.
type weigher func(Policy, Try, Now) Judgement

// replies makes up replies: real ones, with another code, stage or order of
// words, and noise.
type replies struct {
	rnd      *rand.Rand
	lines    []line
	words    []string
	profiles []*relay.Profile
}

func newReplies(t testing.TB, seed uint64) *replies {
	g := &replies{rnd: rand.New(rand.NewPCG(seed, 1)), lines: corpus(t, true), profiles: []*relay.Profile{nil}}
	for _, l := range g.lines {
		g.words = append(g.words, strings.Fields(l.reply.Text)...)
	}
	g.words = append(g.words, "5.1.1", "5.2.2", "5.6.0", "4.7.28", "<bob@example.net>", "\n", "\r", "\x1b[2J", "\x00", "é", "", strings.Repeat("x", 600))
	profiles, err := relay.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range profiles {
		g.profiles = append(g.profiles, p)
	}
	return g
}

func pick[T any](g *replies, from []T) T { return from[g.rnd.IntN(len(from))] }

// next gives any stage, but half of the time one before MAIL.
func (g *replies) next() (relay.Stage, relay.Reply) {
	l := pick(g, g.lines)
	at, code, text := relay.Stage(g.rnd.IntN(int(relay.Dot)+1)), l.reply.Code, l.reply.Text
	if g.rnd.IntN(2) == 0 {
		at = relay.Stage(g.rnd.IntN(int(relay.Mail)))
	}
	switch g.rnd.IntN(4) {
	case 0:
		code = 200 + g.rnd.IntN(400)
	case 1:
		code = pick(g, []int{421, 450, 451, 452, 454, 500, 501, 521, 530, 535, 550, 551, 552, 553, 554, 556, 571})
	}
	if g.rnd.IntN(3) > 0 {
		words := strings.SplitAfter(text, " ")
		for range 1 + g.rnd.IntN(4) {
			words[g.rnd.IntN(len(words))] = pick(g, g.words) + " "
		}
		text = strings.Join(words, "")
	}
	return at, hear(code, text)
}

var anyScope = []relay.Scope{
	relay.ScopeRecipient, relay.ScopeMessage, relay.ScopeSize, relay.ScopeSender, relay.ScopeQuota, relay.ScopeAccount, relay.ScopePolicy, relay.ScopePlace,
	relay.ScopeSession, relay.ScopeConnections, relay.ScopeNetwork, relay.ScopeIdentity, relay.ScopeTemporary, relay.ScopeUnknown,
}

// rules are what an operator may write: now and then one that fits everything.
func (g *replies) rules() relay.Rules {
	rs := relay.Rules{Profile: pick(g, g.profiles)}
	if g.rnd.IntN(4) == 0 {
		rs.Operator = []relay.Rule{{
			Name: "rule 1 of the config", Code: pick(g, []string{"", "4", "5", "55"}), Enhanced: pick(g, []string{"", "5.7", "4"}),
			Text: []string{pick(g, []string{"e", "the", "not", ""})}, Scope: pick(g, anyScope), Wait: pick(g, []time.Duration{0, time.Hour}),
		}}
	}
	return rs
}

// TestNoReplyIsMisjudged holds what must be true of every reply, whatever the
// rules and the knobs. Each law has a control: a judge that breaks it is caught.
func TestNoReplyIsMisjudged(t *testing.T) {
	n := 50_000 // half of them before MAIL; the race detector makes them slow
	if os.Getenv("MAILROAM_TORTURE") != "" {
		n = 2_000_000
	}
	if broken := misjudged(t, n, Policy.Judge); broken != "" {
		t.Error(broken)
	}
	for name, wrong := range map[string]func(r relay.RcptResult, scope string, j *Judgement){
		"a 5xx greeting bounces": func(r relay.RcptResult, _ string, j *Judgement) {
			if r.Stage == relay.Greeting && r.Reply.Code == 554 {
				j.Results[0].State = queue.Failed
			}
		},
		"a full quota bounces": func(_ relay.RcptResult, scope string, j *Judgement) {
			if scope == string(relay.ScopeQuota) {
				j.Results[0].State = queue.Failed
			}
		},
		"words bounce a 4xx": func(r relay.RcptResult, _ string, j *Judgement) {
			if r.Stage >= relay.Mail && strings.Contains(r.Reply.Text, "permanent") {
				j.Results[0].State = queue.Failed
			}
		},
		"the first opinion is enough": func(_ relay.RcptResult, scope string, j *Judgement) {
			if scope == string(relay.ScopeUnknown) {
				j.Results[0].State = queue.Failed
			}
		},
		"an OK before the dot delivers": func(r relay.RcptResult, _ string, j *Judgement) {
			if r.Stage == relay.Data && r.Reply.Positive() {
				j.Results[0].State = queue.Delivered
			}
		},
		"a greeting is an opinion": func(r relay.RcptResult, _ string, j *Judgement) {
			if r.Stage == relay.Greeting {
				j.Results[0].Said = append(j.Results[0].Said, queue.Answer{Upstream: "a", Code: 554, Scope: string(relay.ScopeUnknown)})
			}
		},
		"a recipient is forgotten": func(_ relay.RcptResult, _ string, j *Judgement) { j.Results = nil },
	} {
		if misjudged(t, 10_000, func(p Policy, try Try, now Now) Judgement {
			j := p.Judge(try, now)
			wrong(try.Result.Rcpts[0], j.Attempts[0].Scope, &j)
			return j
		}) == "" {
			t.Errorf("nobody notices that %s", name)
		}
	}
}

// misjudged is the first of n replies that breaks a law.
func misjudged(t testing.TB, n int, weigh weigher) string {
	g := newReplies(t, 1)
	now := Now{Time: time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC), Online: time.Hour}
	p := testPolicy()
	rules := g.rules()
	for i := range n {
		if i%16 == 0 {
			rules = g.rules()
			p.ContentReject = pick(g, []ContentReject{BounceContent, FailOverContent, HoldContent})
			p.SecondOpinion = pick(g, []SecondOpinion{Unattributed, Always, NeverAsk})
			p.SoftBounce = g.rnd.IntN(8) == 0
		}
		at, r := g.next()
		m := message("bob@example.net")
		routes := []Route{{Name: "a"}}
		others := g.rnd.IntN(3) // who refused before, without saying whose fault it is
		for k := range others + g.rnd.IntN(3) {
			name := strconv.Itoa(k)
			routes = append(routes, Route{Name: name})
			if k < others {
				m.Recipients[0].Said = append(m.Recipients[0].Said, queue.Answer{Upstream: name, Code: 550, Scope: string(relay.ScopeUnknown)})
			}
		}
		p.Routes = NewRoutes(routes)
		try := Try{
			Message: &m, Upstream: "a", Rcpts: []int{0}, At: now.Time, Rules: rules,
			Result: relay.Result{Rcpts: []relay.RcptResult{{Stage: at, Reply: r}}, Served: at >= relay.Mail},
		}
		j := weigh(p, try, now)
		if law := breaks(p, try.Result.Rcpts[0], others, len(routes), j); law != "" {
			return fmt.Sprintf("reply %d, %s, %q, rules %+v, %d of %d refused before: %s: %+v", i, at, r, rules, others, len(routes), law, j)
		}
	}
	return ""
}

// blamed are the scopes by which a refusal may be the message's fault, or be
// taken for it: the first four bounce.
var blamed = []relay.Scope{relay.ScopeRecipient, relay.ScopeMessage, relay.ScopeSize, relay.ScopeUnknown, relay.ScopeSender, relay.ScopePolicy}

// breaks names the law that a judgement breaks, if any.
func breaks(p Policy, r relay.RcptResult, others, routes int, j Judgement) string {
	if len(j.Results) != 1 || j.Results[0].Index != 0 || len(j.Attempts) != 1 {
		return "a recipient without a result"
	}
	res, scope := j.Results[0], relay.Scope(j.Attempts[0].Scope)
	failed := res.State == queue.Failed
	quorum := min(2, routes)
	if p.SecondOpinion == NeverAsk {
		quorum = 1
	}
	blames := func(a queue.Answer) bool { return a.Upstream == "a" && slices.Contains(blamed, relay.Scope(a.Scope)) }
	switch {
	case r.Stage < relay.Mail && res.State != queue.Pending:
		return "before MAIL nothing is known of the message (verdicts 2.2.1)"
	case r.Stage < relay.Mail && slices.ContainsFunc(res.Said, blames):
		return "what is said before MAIL counts against the message"
	case failed && r.Reply.Code/100 != 5:
		return "only a 5xx bounces (RFC 5321 4.2.1)"
	case (res.State == queue.Delivered) != (r.Stage == relay.Dot && r.Reply.Positive()):
		return "a 2xx to the dot, and only that, delivers"
	case res.Doubt != nil && r.Stage != relay.Dot:
		return "in doubt before the dot"
	case failed && p.SoftBounce:
		return "soft_bounce bounces nothing"
	case failed && others < quorum && !slices.Contains(blamed[:4], scope): // else the knobs were changed after it had failed
		return "a refusal for " + string(scope) + " bounces (verdicts 2.2.4)"
	case failed && scope == relay.ScopeUnknown && others+1 < quorum:
		return "nobody gave a second opinion (verdicts 2.2.5)"
	case failed && scope == relay.ScopeSize && others+1 < min(quorum, routes):
		return "it may fit elsewhere (verdicts 2.2.3)"
	}
	return ""
}

// TestNothingBouncesUntried holds the same of whole lives: of some upstreams
// that refuse as real servers do, now one way, now another, with mail to several
// recipients at a time. Nothing bounces for what is an upstream's own; there is
// no second copy without a doubt; nobody is forgotten.
func TestNothingBouncesUntried(t *testing.T) {
	lives := 8
	if os.Getenv("MAILROAM_TORTURE") != "" {
		lives = 300
	}
	var total tally
	for seed := range uint64(lives) {
		l := &life{seed: seed}
		l.run(t)
		for _, b := range l.broken() {
			t.Errorf("seed %d: %s", seed, b)
		}
		total.add(l)
	}
	t.Logf("%+v", total)
	if total.Delivered == 0 || total.Failed == 0 || total.Doubts == 0 || total.Refused < 8*lives {
		t.Errorf("too little happened: %+v", total)
	}
}

// TestUntriedControls: three ways to be wrong, each of which is noticed.
func TestUntriedControls(t *testing.T) {
	for name, wrong := range map[string]func(*life){
		"every 5xx is taken for the recipient's fault": func(l *life) {
			l.rules = relay.Rules{Operator: []relay.Rule{{Name: "wrong", Code: "5", Scope: relay.ScopeRecipient}}}
		},
		"an upstream keeps what it refuses": func(l *life) { l.liar = true },
		"a recipient is lost":               func(l *life) { l.loses = true },
	} {
		caught := false
		for seed := uint64(0); seed < 40 && !caught; seed++ {
			l := &life{seed: seed}
			wrong(l)
			l.run(t)
			caught = len(l.broken()) > 0
		}
		if !caught {
			t.Errorf("nobody notices that %s", name)
		}
	}
}

// tally is what a test saw.
type tally struct{ Delivered, Failed, Doubts, Refused int }

func (y *tally) add(l *life) {
	for _, f := range l.fates {
		for _, lines := range f.heard {
			y.Refused += len(lines)
		}
		y.Doubts += f.doubts
	}
	for _, m := range l.ended {
		for _, r := range m.Recipients {
			switch r.State {
			case queue.Delivered:
				y.Delivered++
			case queue.Failed:
				y.Failed++
			}
		}
	}
}

// life is one run of a few messages.
type life struct {
	seed  uint64
	rules relay.Rules // of the upstreams; none, unless for a control
	liar  bool
	loses bool

	names []string
	lines []line
	ended []queue.Message // as they were in the end

	mu      sync.Mutex // guards what follows
	rnd     *rand.Rand
	healed  bool
	fates   map[string]*record // by recipient; addresses are used once
	notices map[string]int     // by sender; so are those
	sent    int                // recipients
}

// record is what the outside knows of one recipient.
type record struct {
	copies, doubts int
	heard          map[string][]line // by upstream
}

func (l *life) run(t *testing.T) {
	client := rand.New(rand.NewPCG(l.seed, 3))
	l.rnd = rand.New(rand.NewPCG(l.seed, 2))
	l.lines = corpus(t, false)
	l.names = []string{"a", "b", "c", "d"}[:1+l.rnd.IntN(4)]
	l.fates, l.notices = map[string]*record{}, map[string]int{}
	live(t, l.names, func(w *world) {
		w.edit = func(c *Config) {
			c.Expire, c.PolicyHold = 25*24*time.Hour, 20*24*time.Hour
			for n, u := range c.Upstreams {
				u.Rules = l.rules
				c.Upstreams[n] = u
			}
		}
		w.log = io.Discard
		for _, n := range l.names {
			w.peers[n].whole = func(ctx context.Context, d relay.Delivery) relay.Result { return l.deliver(ctx, n, d) }
		}
		w.restart(l.names)
		var ids []queue.ID
		for i := range 4 + client.IntN(4) {
			var to []string
			for k := range 1 + client.IntN(3) {
				to = append(to, fmt.Sprintf("r%d.%d@example.net", i, k))
			}
			l.sent += len(to)
			ids = append(ids, w.submit(fmt.Sprintf("s%d@example.com", i), to...))
			w.pass(time.Duration(client.IntN(20)) * time.Minute)
		}
		w.pass(2 * time.Hour)
		l.mu.Lock()
		l.healed = true
		l.mu.Unlock()
		// Bad credentials are tried again once a day at least.
		for range 30 * 60 {
			if !slices.ContainsFunc(ids, func(id queue.ID) bool { return w.get(id).State != queue.Done }) {
				break
			}
			w.pass(time.Minute)
		}
		w.pass(time.Minute)
		for _, id := range ids {
			l.ended = append(l.ended, w.get(id))
		}
		if l.loses {
			l.ended[0].Recipients = l.ended[0].Recipients[1:]
		}
	})
}

// deliver plays an upstream: it takes the message, refuses all of it or some
// recipients, or is lost after the dot.
func (l *life) deliver(ctx context.Context, upstream string, d relay.Delivery) relay.Result {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d.ReversePath == "" {
		for _, r := range d.Recipients {
			l.notices[r.Address]++
		}
		return all(d, relay.RcptResult{Stage: relay.Dot, Reply: hear(250, "2.0.0 ok")})
	}
	var refuses *line
	if n := l.rnd.IntN(len(l.lines) * 5 / 4); !l.healed && n < len(l.lines) && !l.lines[n].reply.Positive() {
		refuses = &l.lines[n]
	}
	refused := func(r relay.Recipient) relay.RcptResult {
		f := l.fate(r.Address)
		f.heard[upstream] = append(f.heard[upstream], *refuses)
		return relay.RcptResult{Stage: refuses.at, Reply: refuses.reply}
	}
	res := relay.Result{Rcpts: make([]relay.RcptResult, len(d.Recipients)), Served: refuses == nil || refuses.at >= relay.Mail}
	if refuses != nil && refuses.at < relay.Mail {
		for i, r := range d.Recipients {
			res.Rcpts[i] = refused(r)
		}
		return res
	}
	if !d.Begin() {
		return overtaken(d)
	}
	var accepted []int
	for i, r := range d.Recipients {
		if refuses != nil && (refuses.at != relay.Rcpt || l.rnd.IntN(2) == 0) {
			res.Rcpts[i] = refused(r)
		} else {
			accepted = append(accepted, i)
		}
	}
	dots := len(accepted) > 0 || refuses != nil && refuses.at == relay.Dot
	if dots {
		if err := d.BeforeDot(ctx, accepted, res.Rcpts); err != nil {
			return stopped(d, err)
		}
	}
	took, lost := true, !l.healed && l.rnd.IntN(10) == 0
	if lost {
		took = l.rnd.IntN(2) == 0
	}
	for i, r := range d.Recipients {
		f := l.fate(r.Address)
		switch {
		case !slices.Contains(accepted, i):
			if l.liar {
				f.copies++
			}
			continue
		case lost:
			f.doubts++
			res.Rcpts[i] = relay.RcptResult{Stage: relay.Dot, Err: errors.New("connection reset"), InDoubt: true}
		default:
			res.Rcpts[i] = relay.RcptResult{Stage: relay.Dot, Reply: hear(250, "2.0.0 ok")}
		}
		if took {
			f.copies++
		}
	}
	return res
}

func (l *life) fate(address string) *record {
	if l.fates[address] == nil {
		l.fates[address] = &record{heard: map[string][]line{}}
	}
	return l.fates[address]
}

// broken lists what must not be.
func (l *life) broken() (wrongs []string) {
	wrong := func(format string, a ...any) { wrongs = append(wrongs, fmt.Sprintf(format, a...)) }
	n := 0
	for _, m := range l.ended {
		failed := false
		n += len(m.Recipients)
		for _, r := range m.Recipients {
			f := l.fates[r.Address]
			if f == nil {
				f = &record{}
			}
			switch r.State {
			case queue.Delivered:
				if f.copies == 0 {
					wrong("%s is delivered, and nobody has it", r.Address)
				}
			case queue.Failed:
				failed = true
				if f.copies > f.doubts {
					wrong("%s failed, and has it", r.Address)
				}
				if !f.mayFail(len(l.names)) {
					wrong("%s failed for what may have been the upstream's own fault: %+v; last %s", r.Address, f.heard, r.Last)
				}
			default:
				wrong("%s is %s, a day after all was well; %s, timeline %+v", r.Address, r.State, m.State, m.Attempts)
			}
			if f.copies > 1+f.doubts {
				wrong("%d copies for %s, %d doubts", f.copies, r.Address, f.doubts)
			}
		}
		if failed && l.notices[m.ReversePath] == 0 {
			wrong("nobody told %s", m.ReversePath)
		}
	}
	if n != l.sent {
		wrong("%d recipients came in, %d are accounted for", l.sent, n)
	}
	return wrongs
}

// mayFail says whether what was heard about a recipient is reason to bounce: a
// fault of its own or the message's, or two upstreams, or all, that refuse for
// good and leave open whose fault it is.
func (h *record) mayFail(upstreams int) bool {
	open := 0
	for _, lines := range h.heard {
		refused := false
		for _, l := range lines {
			if l.verdict == relay.Bounce {
				return true
			}
			refused = refused || l.reply.Code/100 == 5 && l.says(relay.ScopeUnknown, relay.ScopeSize, relay.ScopeMessage)
		}
		if refused {
			open++
		}
	}
	return open >= min(2, upstreams)
}
