package msa

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-smtp"

	"mailroam/gateway/header"
	"mailroam/gateway/sink"
	"mailroam/queue"
)

const testAddr = "192.0.2.25:25"

var everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}

// stored is a message that was committed.
type stored struct {
	queue.NewMessage
	first string
	body  string
}

// addresses lists the recipients of a stored message.
func addresses(m stored) []string {
	var list []string
	for _, r := range m.Recipients {
		list = append(list, r.Address)
	}
	return list
}

// header gives the fields above the first empty line.
func (m stored) header() string {
	h, _, _ := strings.Cut(m.body, "\r\n\r\n")
	return h + "\r\n"
}

// text gives what is below the fields that msa adds.
func (m stored) text() string {
	rest := m.body
	for _, name := range []string{"Received", "Date", "Message-ID"} {
		field, after := header.Next([]byte(rest))
		if n, v := header.Cut(field); string(n) == name && (name == "Received" || bytes.Contains(v, []byte(m.ID.String())) || name == "Date" && m.addedDate()) {
			rest = string(after)
		}
	}
	return rest
}

func (m stored) addedDate() bool {
	return strings.Contains(m.body, ";\r\n\t"+m.Accepted.Format(dateLayout)+"\r\nDate: "+m.Accepted.Format(dateLayout)+"\r\n")
}

// box is a queue.Session that only takes mail.
type box struct {
	queue.Session
	mu        sync.Mutex // guards all below
	mail      []stored
	requeued  []queue.ID
	aborted   int
	open      int
	draftErr  error
	writeErr  error
	commitErr error
	onCommit  func(ctx context.Context) // called without the lock
}

func (b *box) NewDraft(context.Context, queue.ID) (queue.Draft, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.draftErr != nil {
		return nil, b.draftErr
	}
	b.open++
	return &draft{box: b}, nil
}

func (b *box) Requeue(_ context.Context, cs ...queue.Claim) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range cs {
		b.requeued = append(b.requeued, c.ID)
	}
	return nil
}

func (b *box) messages() []stored {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mail
}

func (b *box) fail(set func(b *box)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	set(b)
}

type draft struct {
	box  *box
	body []byte
	done bool
}

func (d *draft) Write(p []byte) (int, error) {
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	if d.box.writeErr != nil {
		return 0, d.box.writeErr
	}
	d.body = append(d.body, p...)
	return len(p), nil
}

func (d *draft) Commit(ctx context.Context, first string, m queue.NewMessage) (queue.Claim, error) {
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	if f := d.box.onCommit; f != nil {
		d.box.mu.Unlock()
		f(ctx)
		d.box.mu.Lock()
	}
	if err := ctx.Err(); err != nil {
		return queue.Claim{}, err
	}
	if d.box.commitErr != nil {
		return queue.Claim{}, d.box.commitErr
	}
	d.done = true
	d.box.open--
	d.box.mail = append(d.box.mail, stored{m, first, string(d.body)})
	return queue.Claim{Message: m.New(int64(len(d.body))), Upstream: first}, nil
}

func (d *draft) Abort() {
	d.box.mu.Lock()
	defer d.box.mu.Unlock()
	if !d.done {
		d.done = true
		d.box.open--
		d.box.aborted++
	}
}

// rig is a running server with its queue and its log.
type rig struct {
	t      testing.TB
	net    *sink.Network
	box    *box
	server *Server
	log    *logBuffer
	cancel context.CancelFunc
	served chan error
}

// start runs a server in memory. It ends with the test.
func start(t testing.TB, set func(*Options)) *rig {
	t.Helper()
	r := &rig{t: t, net: sink.NewNetwork(), box: &box{}, log: &logBuffer{}}
	l, err := r.net.Listen("tcp", testAddr)
	if err != nil {
		t.Fatal(err)
	}
	r.serve(l, set)
	return r
}

func (r *rig) serve(l net.Listener, set func(*Options)) {
	o := Options{
		Hostname: "gw.example.org", Allow: everybody, MaxMessage: 1 << 20, Session: r.box,
		Log: slog.New(slog.NewTextHandler(r.log, nil)),
	}
	if set != nil {
		set(&o)
	}
	r.server = New(o)
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.served = cancel, make(chan error, 1)
	go func() { r.served <- r.server.Serve(ctx, l) }()
	r.t.Cleanup(r.stop)
}

// stop ends the server; sessions that are left are drained.
func (r *rig) stop() {
	if r.served == nil {
		return
	}
	r.cancel()
	if err := <-r.served; err != nil {
		r.t.Errorf("Serve: %v", err)
	}
	r.served = nil
	if r.box.open != 0 {
		r.t.Errorf("%d drafts were neither committed nor aborted", r.box.open)
	}
}

// one is the only message there must be.
func (r *rig) one() stored {
	r.t.Helper()
	ms := r.box.messages()
	if len(ms) != 1 {
		r.t.Fatalf("%d messages stored, want 1", len(ms))
	}
	return ms[0]
}

func (r *rig) none() {
	r.t.Helper()
	if ms := r.box.messages(); len(ms) != 0 {
		r.t.Fatalf("%d messages stored, want none; the first:\n%q", len(ms), ms[0].body)
	}
}

// client is the other end of a dialogue.
type client struct {
	t testing.TB
	net.Conn
	in *bufio.Reader
}

func (r *rig) dial() *client {
	r.t.Helper()
	nc, err := r.net.Dial(context.Background(), "tcp", testAddr)
	if err != nil {
		r.t.Fatal(err)
	}
	return newClient(r.t, nc)
}

func newClient(t testing.TB, nc net.Conn) *client {
	t.Cleanup(func() { nc.Close() })
	return &client{t, nc, bufio.NewReader(nc)}
}

// greeted is a client behind EHLO.
func (r *rig) greeted() *client {
	c := r.dial()
	c.want("220 ")
	c.cmd("EHLO client.example.net", "250")
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	if _, err := io.WriteString(c, s); err != nil {
		c.t.Fatalf("sending %.60q: %v", s, err)
	}
}

// reply reads one whole reply.
func (c *client) reply() (string, error) {
	var all strings.Builder
	for {
		line, err := c.in.ReadString('\n')
		all.WriteString(line)
		if err != nil {
			return all.String(), err
		}
		if len(line) < 4 || line[3] != '-' {
			return all.String(), nil
		}
	}
}

// want reads a reply that begins with prefix.
func (c *client) want(prefix string) string {
	c.t.Helper()
	got, err := c.reply()
	if err != nil || !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("reply %q, %v; want %q", got, err, prefix)
	}
	return got
}

func (c *client) cmd(line, prefix string) string {
	c.t.Helper()
	c.send(line + "\r\n")
	got, err := c.reply()
	if err != nil || !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("%.100q: reply %q, %v; want %q", line, got, err, prefix)
	}
	return got
}

// eof wants the connection to end without another octet.
func (c *client) eof() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.in); len(rest) > 0 || err != nil {
		c.t.Fatalf("the connection goes on: %q, %v", rest, err)
	}
}

// envelope begins a transaction.
func (c *client) envelope() {
	c.t.Helper()
	c.cmd("MAIL FROM:<ann@example.com>", "250")
	c.cmd("RCPT TO:<bob@example.net>", "250")
}

// data sends a whole message by DATA and gives the reply.
func (c *client) data(content string) string {
	c.t.Helper()
	c.envelope()
	c.cmd("DATA", "354")
	return c.exchange(content + ".\r\n")
}

// bdat does the same in one chunk.
func (c *client) bdat(content string) string {
	c.t.Helper()
	c.envelope()
	return c.exchange(fmt.Sprintf("BDAT %d LAST\r\n%s", len(content), content))
}

// exchange sends and reads a reply at the same time, as a refused body needs.
func (c *client) exchange(s string) string {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(c, s)
	}()
	got, _ := c.reply()
	<-sent
	return got
}

// logBuffer is a log that tests read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// lines gives the lines of one event.
func (l *logBuffer) lines(event string) (lines []string) {
	for line := range strings.Lines(l.String()) {
		if strings.Contains(line, "msg="+event+" ") {
			lines = append(lines, line)
		}
	}
	return lines
}

// bare is go-smtp's server as it comes, with a session that believes it. It is
// the control of the tests here: where it does what a test forbids, the test
// would notice if the mitigation were gone.
type bare struct {
	t      testing.TB
	net    *sink.Network
	server *smtp.Server
	mu     sync.Mutex
	mail   []string
}

func startBare(t testing.TB, set func(*smtp.Server)) *bare {
	t.Helper()
	b := &bare{t: t, net: sink.NewNetwork()}
	b.server = smtp.NewServer(smtp.BackendFunc(func(*smtp.Conn) (smtp.Session, error) { return &naive{b}, nil }))
	b.server.Domain = "bare.example.org"
	b.server.ErrorLog = complaints{slog.New(slog.DiscardHandler)}
	if set != nil {
		set(b.server)
	}
	l, err := b.net.Listen("tcp", testAddr)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.server.Serve(l)
	}()
	t.Cleanup(func() {
		b.server.Close()
		<-done
	})
	return b
}

func (b *bare) messages() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.mail
}

func (b *bare) greeted() *client {
	nc, err := b.net.Dial(context.Background(), "tcp", testAddr)
	if err != nil {
		b.t.Fatal(err)
	}
	c := newClient(b.t, nc)
	c.want("220 ")
	c.cmd("EHLO client.example.net", "250")
	return c
}

type naive struct{ b *bare }

func (n *naive) Reset()                               {}
func (n *naive) Logout() error                        { return nil }
func (n *naive) Mail(string, *smtp.MailOptions) error { return nil }
func (n *naive) Rcpt(string, *smtp.RcptOptions) error { return nil }
func (n *naive) Data(r io.Reader) error {
	body, err := io.ReadAll(r)
	if err != nil {
		return errors.New("reading: " + err.Error())
	}
	n.b.mu.Lock()
	defer n.b.mu.Unlock()
	n.b.mail = append(n.b.mail, string(body))
	return nil
}

// strangers makes all who dial come from another address.
type strangers struct {
	net.Listener
	addr func() netip.Addr
}

func (l strangers) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return stranger{c, net.TCPAddrFromAddrPort(netip.AddrPortFrom(l.addr(), 4711))}, nil
}

type stranger struct {
	net.Conn
	addr net.Addr
}

func (s stranger) RemoteAddr() net.Addr { return s.addr }
