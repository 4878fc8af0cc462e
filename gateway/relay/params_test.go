package relay

import (
	"fmt"
	"strings"
	"testing"

	"mailroam/gateway/sink"
)

// asked is a delivery with everything that RFC 3461 lets a sender ask for.
func asked(rcpts ...Recipient) Delivery {
	d := mail(letter)
	d.Recipients, d.Ret, d.EnvID = rcpts, "HDRS", "id+2B1"
	return d
}

// TestDSN: what the sender asked for is passed on where that is offered, and
// then it is the upstream's duty.
func TestDSN(t *testing.T) {
	for _, c := range []struct {
		extra        []string
		params, rcpt string
		duty         bool
	}{
		{nil, "SIZE=36", "[]", false},
		{[]string{"DSN"}, "SIZE=36 RET=HDRS ENVID=id+2B1", "[NOTIFY=SUCCESS,DELAY ORCPT=rfc822;Bob@example.com NOTIFY=NEVER]", true},
	} {
		inWorld(t, sink.Options{Extra: c.extra}, Options{}, func(w *world) {
			res := w.deliver(asked(
				Recipient{"b@example.com", "SUCCESS,DELAY", "rfc822;Bob@example.com"},
				Recipient{"c@example.com", "NEVER", ""},
			))
			w.want(res, "dot 250", "dot 250")
			got := w.sink.Messages()[0]
			if res.DSN != c.duty || got.Params != c.params || fmt.Sprint(got.RcptParams) != c.rcpt {
				t.Errorf("duty %v, %q, %q", res.DSN, got.Params, got.RcptParams)
			}
			// Who asks for nothing says nothing, and the duty is the same.
			if res = w.deliver(mail(letter, "b@example.com")); res.DSN != c.duty || strings.Contains(fmt.Sprint(w.sink.Messages()[1].RcptParams), "=") {
				t.Errorf("unasked: duty %v, %+v", res.DSN, w.sink.Messages()[1])
			}
		})
	}
	inWorld(t, sink.Options{Extra: []string{"DSN"}, Faults: faults(t, "dot=451 no")}, Options{}, func(w *world) {
		if res := w.deliver(asked(To("b@example.com")...)); res.DSN {
			t.Error("a duty for what was not taken")
		}
	})
}

func TestParameterForms(t *testing.T) {
	for _, c := range []struct {
		check func(string) bool
		good  []string
		bad   []string
	}{
		{isNotify, []string{"NEVER", "SUCCESS", "FAILURE,DELAY"}, []string{"", "NEVER,SUCCESS", "success", "SUCCESS,", "SUCCESS\r\nRSET", "DELAY ORCPT=x"}},
		{isEnvID, []string{"a", "QQ314159", "a+2Bb+3D", strings.Repeat("x", 100)}, []string{
			"", "a b", "a=b", "a+", "a+2", "a+2b", "a+0D+0A", "a+00", "a+7F", "a\r\nb", "ä", strings.Repeat("x", 101),
		}},
		{func(s string) bool { return isORcpt(s, false) }, []string{"rfc822;a@b", "utf-8;a\\x{E4}@b", "x-my;+3D"}, []string{
			"", "a@b", ";a@b", "rfc822;", "rfc822;a b", "rfc822;a@b NOTIFY=NEVER", "rf c822;a@b", "rfc822;a+0A", "utf-8;ä@b", "rfc822;" + strings.Repeat("x", 500),
		}},
		{func(s string) bool { return isORcpt(s, true) }, []string{"utf-8;ä@b", "UTF-8;ä@b", "rfc822;a@b"}, []string{"rfc822;ä@b", "utf-8;\xe4@b", "utf-8;a\u0085@b"}},
	} {
		for _, s := range c.good {
			if !c.check(s) {
				t.Errorf("%q was left out", s)
			}
		}
		for _, s := range c.bad {
			if c.check(s) {
				t.Errorf("%q was let out", s)
			}
		}
	}
}

// FuzzParams: whatever is asked for, a command stays one line, and what it says
// is only what it may.
func FuzzParams(f *testing.F) {
	f.Add("HDRS", "a+2B", "NEVER", "rfc822;a@b", true)
	f.Add("FULL SIZE=1", "a\r\nRSET", "SUCCESS,DELAY", "utf-8;ä@b\r\n", false)
	f.Fuzz(func(t *testing.T, ret, id, notify, orcpt string, wide bool) {
		p := params{dsn: true, utf8: wide}
		line := string(p.mail(nil, &Envelope{Ret: ret, EnvID: id})) + string(p.rcpt(nil, &Recipient{Notify: notify, ORcpt: orcpt}))
		for _, word := range strings.Split(strings.TrimPrefix(line, " "), " ") {
			key, _, _ := strings.Cut(word, "=")
			if line != "" && key != "RET" && key != "ENVID" && key != "NOTIFY" && key != "ORCPT" && key != "SMTPUTF8" {
				t.Errorf("%q", line)
			}
		}
		if strings.ContainsAny(line, "\r\n\x00\t") || !wide && !isASCII(line) {
			t.Errorf("%q", line)
		}
	})
}

// TestParametersRefused: an upstream that offers parameters and refuses them is
// asked once more without, and from then on at once (RFC 5321 4.1.1.11).
func TestParametersRefused(t *testing.T) {
	fussy := func(r string, stages ...string) func(string) (string, bool) {
		return func(line string) (string, bool) {
			for _, s := range stages {
				if strings.HasPrefix(line, s) && strings.Count(line, "=") > 0 {
					return r, true
				}
			}
			return "", false
		}
	}
	for name, c := range map[string]struct {
		ehlo   string
		refuse func(string) (string, bool)
		want   string // commands of the first delivery, and of the second
		result string
	}{
		"555 to MAIL":       {"PIPELINING\r\n250-SIZE\r\n250 DSN", fussy("555 5.5.4 no", "MAIL"), "MMd|Md", "[dot 250 dot 250]"},
		"bare 501":          {"SIZE\r\n250 DSN", fussy("501 syntax", "MAIL"), "MMd|Md", "[dot 250 dot 250]"},
		"SIZE alone":        {"8BITMIME\r\n250 SIZE", fussy("504 5.5.4 no", "MAIL"), "MMd|Md", "[dot 250 dot 250]"},
		"555 to RCPT":       {"PIPELINING\r\n250 DSN", fussy("555 5.5.4 no", "RCPT TO:<b"), "MdMd|Md", "[dot 250 dot 250]"},
		"to every RCPT":     {"PIPELINING\r\n250 DSN", fussy("555 5.5.4 no", "RCPT"), "MMd|Md", "[dot 250 dot 250]"},
		"about the address": {"SIZE\r\n250 DSN", fussy("501 5.1.7 bad sender", "MAIL"), "M|M", "[mail 501 mail 501]"},
		"about something else after all": {"SIZE\r\n250 DSN", func(line string) (string, bool) {
			return "501 bad sender", strings.HasPrefix(line, "MAIL")
		}, "MM|MM", "[mail 501 mail 501]"},
		"none to leave out": {"8BITMIME\r\n250 HELP", func(line string) (string, bool) {
			return "555 5.5.4 no", strings.HasPrefix(line, "MAIL")
		}, "M|M", "[mail 555 mail 555]"},
	} {
		t.Run(name, func(t *testing.T) {
			said := "" // M for MAIL, d for a dot
			withPeer(t, Options{}, []func(*peer){func(p *peer) {
				p.opening("250-mx\r\n250-" + c.ehlo + "\r\n")
				accepted := 0
				for {
					line, err := p.r.ReadString('\n')
					if err != nil {
						return
					}
					refusal, no := c.refuse(line)
					switch {
					case strings.HasPrefix(line, "MAIL"):
						said, accepted = said+"M", 0
						if no {
							accepted = -100
						}
					case strings.HasPrefix(line, "RCPT"):
						switch {
						case accepted < 0:
							refusal, no = "503 no", true
						case !no:
							accepted++
						}
					case strings.HasPrefix(line, "DATA"):
						if refusal, no = "354 go", true; accepted < 1 {
							refusal = "503 no"
						}
					case line == ".\r\n":
						said += "d"
					case !strings.HasPrefix(line, "RSET"):
						continue
					}
					if !no {
						refusal = "250 ok"
					}
					p.say(refusal + "\r\n")
				}
			}}, func(w *world) {
				var got []string
				d := asked(Recipient{"b@example.com", "NEVER", ""}, Recipient{"c@example.com", "NEVER", ""})
				for range 2 {
					res := w.deliver(d)
					got = append(got, fmt.Sprint([]string{brief(res.Rcpts[0]), brief(res.Rcpts[1])}))
					if res.DSN {
						t.Error("a duty of whom not everything was asked")
					}
					said += "|"
				}
				if got[0] != c.result || got[1] != c.result || strings.TrimSuffix(said, "|") != c.want {
					t.Errorf("got %v, said %q; want %s, %q", got, said, c.result, c.want)
				}
				if o := w.up.Offers(); strings.Contains(c.ehlo, "DSN") && o.DSN == strings.Contains(c.want, "d") {
					t.Errorf("offers %+v", o)
				}
			})
		})
	}
}

// TestWide: what is beyond ASCII goes only where SMTPUTF8 is offered.
func TestWide(t *testing.T) {
	utf8 := mail(letter, "b@example.com")
	utf8.UTF8 = true
	to, from := mail(letter, "ü@example.com"), mail(letter, "b@example.com")
	from.ReversePath = "ä@example.com"
	for name, d := range map[string]Delivery{"header": utf8, "recipient": to, "sender": from} {
		for _, offer := range [][]string{{"SMTPUTF8"}, nil} {
			inWorld(t, sink.Options{Extra: offer}, Options{}, func(w *world) {
				res := w.deliver(d)
				r := res.Rcpts[0]
				if offer == nil {
					if r.Reply.Code/100 != 5 || r.Reply.Enhanced != "5.6.7" || r.Stage != Mail || res.Served || w.sink.Count() != 0 {
						t.Errorf("%s: %v", name, r)
					}
					return
				}
				if w.want(res, "dot 250"); !strings.HasSuffix(w.sink.Messages()[0].Params, "BODY=8BITMIME SMTPUTF8") {
					t.Errorf("%s: %q", name, w.sink.Messages()[0].Params)
				}
			})
		}
	}
	inWorld(t, sink.Options{Extra: []string{"SMTPUTF8"}, Without: []string{"8BITMIME"}}, Options{}, func(w *world) {
		w.want(w.deliver(utf8), "mail 550")
	})
}

// TestRequireTLS: only over TLS that proves who answers, to who offers it.
func TestRequireTLS(t *testing.T) {
	id := identity(t, host)
	for _, mode := range []Mode{Insecure, RequireStartTLS, Implicit} {
		for _, offer := range [][]string{{"REQUIRETLS"}, nil} {
			e := Endpoint{Mode: mode, Host: host, Port: "25", Roots: id.Roots}
			inWorld(t, sink.Options{TLS: id.Server, Implicit: mode == Implicit, Extra: offer}, Options{Endpoints: []Endpoint{e}}, func(w *world) {
				d := mail(letter, "b@example.com")
				d.RequireTLS = true
				res := w.deliver(d)
				may := mode != Insecure && offer != nil
				if o := w.up.Offers(); o.RequireTLS != may || !o.Known {
					t.Errorf("mode %d: %+v", mode, o)
				}
				if may {
					if w.want(res, "dot 250"); !strings.HasSuffix(w.sink.Messages()[0].Params, " REQUIRETLS") {
						t.Errorf("%q", w.sink.Messages()[0].Params)
					}
				} else if w.want(res, "mail 550"); res.Rcpts[0].Reply.Enhanced != "5.7.30" || w.sink.Count() != 0 {
					t.Errorf("mode %d: %v", mode, res.Rcpts[0])
				}
			})
		}
	}
	// A liar in the clear.
	withPeer(t, Options{}, []func(*peer){func(p *peer) {
		p.opening("250-mx\r\n250 REQUIRETLS\r\n")
		p.rest()
	}}, func(w *world) {
		d := mail(letter, "b@example.com")
		d.RequireTLS = true
		if w.want(w.deliver(d), "mail 550"); w.up.Offers().RequireTLS {
			t.Error("believed")
		}
	})
}

// TestParametersAreNoRefusal: who was refused for parameters that mail can do
// without, and could not be asked for again, was not refused.
func TestParametersAreNoRefusal(t *testing.T) {
	for fault, want := range map[string][]string{
		"dot=451 no":        {"dot 451", "rcpt 451"},
		"dot=554 5.6.0 no":  {"dot 554", "rcpt 451"},
		"data=451 no":       {"data 451", "rcpt 451"},
		"dot=close":         {"dot in doubt", "rcpt 451"},
		"dot=421 4.3.2 bye": {"dot 421", "rcpt 451"},
	} {
		inWorld(t, sink.Options{Extra: []string{"DSN"}, Faults: faults(t, "rcpt:b@x#1=501 5.5.4 no", fault)}, Options{}, func(w *world) {
			d := mail(letter, "a@x", "b@x")
			d.Recipients[1].Notify = "NEVER"
			w.want(w.deliver(d), want...)
		})
	}
}
