package relay

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/gateway/sink"
)

// town is a network with names, and sinks that listen where a test says.
type town struct {
	t     *testing.T
	net   *sink.Network
	names map[string][]netip.Addr
	stop  []func()
}

// inTown runs test in a synctest bubble and ends what it started.
func inTown(t *testing.T, names map[string]string, test func(*town)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &town{t: t, net: sink.NewNetwork(), names: map[string][]netip.Addr{}}
		for name, addrs := range names {
			for a := range strings.FieldsSeq(addrs) {
				w.names[name] = append(w.names[name], netip.MustParseAddr(a))
			}
		}
		defer func() {
			for _, stop := range w.stop {
				stop()
			}
		}()
		test(w)
	})
}

// opens starts a sink at an address.
func (w *town) opens(addr string, o sink.Options) {
	w.t.Helper()
	o.Listen = w.net.Listen
	l, err := w.net.Listen("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	s := sink.New(o)
	ctx, cancel := context.WithCancel(w.t.Context())
	w.stop = append(w.stop, cancel)
	go func() { _ = s.Serve(ctx, l) }()
}

// tells starts a server that says one thing to whoever comes.
func (w *town) tells(addr, text string) {
	l, err := w.net.Listen("tcp", addr)
	if err != nil {
		w.t.Fatal(err)
	}
	w.stop = append(w.stop, func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.WriteString(c, text)
				_ = c.SetReadDeadline(time.Now().Add(time.Minute))
				_, _ = io.Copy(io.Discard, c)
			}()
		}
	}()
}

func (w *town) lookup(_ context.Context, host string) ([]netip.Addr, error) {
	if a := w.names[host]; len(a) > 0 {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// examine gives all findings, by endpoint and address, each in its order.
func (w *town) examine(o Options, login bool) []Finding {
	o.Name, o.Hello, o.Dial, o.Lookup = "test", "client.example", w.net.Dial, w.lookup
	var all []Finding
	New(o).Examine(w.t.Context(), login, func(f Finding) { all = append(all, f) }) // the race detector watches
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Address, b.Address))
	})
	return all
}

// steps writes findings as lines.
func steps(all []Finding) string {
	var b strings.Builder
	for _, f := range all {
		fmt.Fprintf(&b, "%s %s %s", f.Endpoint, f.Address, f.Stage)
		switch {
		case f.Err != nil:
			fmt.Fprintf(&b, " FAILED %s", f.Took)
		default:
			fmt.Fprintf(&b, " %s", strings.ReplaceAll(f.Text, "\n", "|"))
		}
		b.WriteByte('\n')
	}
	return b.String()
}

// TestExamineVisitsAll: neither the first that works nor one that fails ends
// it, and a black hole holds up nobody else.
func TestExamineVisitsAll(t *testing.T) {
	id := identity(t, host)
	inTown(t, map[string]string{host: "2001:db8::1 192.0.2.1"}, func(w *town) {
		w.opens("192.0.2.1:465", sink.Options{Name: "sink", TLS: id.Server, Implicit: true, Users: map[string]string{"ann": "pw"}})
		w.opens("[2001:db8::1]:587", sink.Options{Name: "sink", TLS: id.Server, Size: 1000})
		w.net.Silence("[2001:db8::1]:465", true)
		w.net.Silence("192.0.2.1:2525", true)
		began := time.Now()
		all := w.examine(Options{Endpoints: []Endpoint{
			{Mode: Implicit, Host: host, Port: "465", Roots: id.Roots},
			{Mode: RequireStartTLS, Host: host, Port: "587", Roots: id.Roots},
			{Mode: Insecure, Host: "192.0.2.1", Port: "2525"},
			{Mode: Implicit, Host: "gone.example", Port: "465", Roots: id.Roots},
		}}, true)
		if took := time.Since(began); took != examined.connect {
			t.Errorf("took %s", took)
		}
		const proof = "the certificate names mx.example; issued by practice CA; valid from 1999-01-01 to 2099-01-01"
		want := `mx.example:465  dns 2001:db8::1, 192.0.2.1
mx.example:465 192.0.2.1:465 connect 
mx.example:465 192.0.2.1:465 tls TLS 1.3, ` + proof + `
mx.example:465 192.0.2.1:465 greeting sink ESMTP sink
mx.example:465 192.0.2.1:465 ehlo AUTH PLAIN LOGIN, SIZE, PIPELINING, 8BITMIME
mx.example:465 [2001:db8::1]:465 connect FAILED 5s
mx.example:587  dns 2001:db8::1, 192.0.2.1
mx.example:587 192.0.2.1:587 connect FAILED 0s
mx.example:587 [2001:db8::1]:587 connect 
mx.example:587 [2001:db8::1]:587 greeting sink ESMTP sink
mx.example:587 [2001:db8::1]:587 ehlo STARTTLS, SIZE 1000, PIPELINING, 8BITMIME
mx.example:587 [2001:db8::1]:587 starttls TLS 1.3, ` + proof + `
mx.example:587 [2001:db8::1]:587 ehlo SIZE 1000, PIPELINING, 8BITMIME
192.0.2.1:2525 192.0.2.1:2525 connect FAILED 5s
gone.example:465  dns FAILED 0s
`
		if got := steps(all); got != want {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
		for _, f := range all {
			fault, ok := errors.AsType[*Error](f.Err)
			if f.Err == nil {
				continue
			}
			if !ok || fault.Endpoint != f.Endpoint || fault.Stage != f.Stage || f.Address != "" && fault.Addr.String() != f.Address {
				t.Errorf("%+v: %+v", f, fault)
			}
		}
	})
}

// TestExamineLogsInOnce, and only where it is proven who asks for the password.
func TestExamineLogsInOnce(t *testing.T) {
	id, other := identity(t, host), identity(t, "portal.example")
	const secret = "swordfish"
	for _, c := range []struct {
		name, password string
		second         sink.Options
		want           []string
	}{
		{"right", secret, sink.Options{TLS: id.Server}, []string{"logged in as ann"}},
		{"wrong", "wrong-one", sink.Options{TLS: id.Server}, []string{"refused"}},
		{"the other is an impostor", secret, sink.Options{TLS: other.Server}, []string{"logged in as ann"}},
		{"the other knows no way to log in", secret, sink.Options{TLS: id.Server, Without: []string{"AUTH"}}, []string{"logged in as ann"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			inTown(t, map[string]string{host: "192.0.2.1", "two.example": "192.0.2.2"}, func(w *town) {
				// It comes second, so that the other one is asked if it can be.
				first := sink.Options{TLS: id.Server, Implicit: true, Users: map[string]string{"ann": secret}, Faults: faults(t, "greeting=delay 1s")}
				c.second.Users = map[string]string{"ann": secret}
				w.opens("192.0.2.1:465", first)
				w.opens("192.0.2.2:587", c.second)
				all := w.examine(Options{
					Endpoints: []Endpoint{
						{Mode: RequireStartTLS, Host: "two.example", ServerName: host, Port: "587", Roots: id.Roots},
						{Mode: Implicit, Host: host, Port: "465", Roots: id.Roots},
					},
					Username: "ann", Password: password(c.password),
				}, true)
				var got []string
				for _, f := range all {
					if text := fmt.Sprint(f); strings.Contains(text, secret) || strings.Contains(text, encode(secret)) {
						t.Errorf("the password is shown: %+v", f)
					}
					switch fault, _ := errors.AsType[*Error](f.Err); {
					case f.Stage != Auth, f.Err != nil && errors.Is(f.Err, errMechanism):
					case f.Err == nil:
						got = append(got, f.Text)
					case fault.Reply.Code == 535:
						got = append(got, "refused")
					default:
						t.Errorf("%v", f.Err)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(c.want) {
					t.Errorf("logins: %q, want %q\n%s", got, c.want, steps(all))
				}
			})
		})
	}
}

// TestExamineSaysWhoAnswers: a certificate that proves nothing still tells a
// person who is there.
func TestExamineSaysWhoAnswers(t *testing.T) {
	id, portal := identity(t, host), identity(t, "portal.example", "192.0.2.9", "a.example", "b.example", "c.example")
	inTown(t, map[string]string{host: "192.0.2.1"}, func(w *town) {
		w.opens("192.0.2.1:465", sink.Options{TLS: portal.Server, Implicit: true})
		w.tells("192.0.2.1:587", "HTTP/1.1 302 Found\r\n\r\n")
		w.opens("192.0.2.1:25", sink.Options{Faults: faults(t, "greeting=hang")})
		w.opens("192.0.2.1:26", sink.Options{Faults: faults(t, "greeting=554 5.7.1 not from here")})
		all := w.examine(Options{Endpoints: []Endpoint{
			{Mode: Implicit, Host: host, Port: "465", Roots: id.Roots},
			{Mode: RequireStartTLS, Host: host, Port: "587", Roots: id.Roots},
			{Mode: Insecure, Host: host, Port: "25"},
			{Mode: Insecure, Host: host, Port: "26"},
		}}, false)
		at := map[string]Finding{}
		for _, f := range all {
			if f.Err != nil {
				at[f.Address] = f
			}
		}
		sign := func(f Finding) Sign {
			fault, _ := errors.AsType[*Error](f.Err)
			return fault.Sign()
		}
		f := at["192.0.2.1:465"]
		if f.Text != "the certificate names portal.example, a.example, b.example and 2 more; issued by practice CA; valid from 1999-01-01 to 2099-01-01" || sign(f) != Imposture {
			t.Errorf("a foreign certificate: %q, %q", f.Text, sign(f))
		}
		if f := at["192.0.2.1:587"]; sign(f) != Web || f.Stage != Greeting {
			t.Errorf("a web server: %+v", f)
		}
		if f := at["192.0.2.1:25"]; f.Took != examined.setup || sign(f) != NoSign {
			t.Errorf("silence: %+v", f)
		}
		if f := at["192.0.2.1:26"]; f.Reply.Code != 554 || f.Stage != Greeting {
			t.Errorf("a refusal: %+v", f)
		}
	})
}

// TestExamineEndsWithItsContext, and says why it came no farther.
func TestExamineEndsWithItsContext(t *testing.T) {
	inTown(t, map[string]string{host: "192.0.2.1"}, func(w *town) {
		w.opens("192.0.2.1:25", sink.Options{Faults: faults(t, "ehlo=hang")})
		ctx, cancel := context.WithTimeout(w.t.Context(), time.Second)
		defer cancel()
		u := New(Options{Endpoints: []Endpoint{{Mode: Insecure, Host: host, Port: "25"}}, Dial: w.net.Dial, Lookup: w.lookup})
		var last Finding
		began := time.Now()
		u.Examine(ctx, false, func(f Finding) { last = f })
		if took := time.Since(began); took != time.Second || last.Stage != Hello || !errors.Is(last.Err, context.DeadlineExceeded) {
			t.Errorf("after %s: %+v", took, last)
		}
	})
}
