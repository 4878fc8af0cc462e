package relay

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/sink"
)

// matrix is what each fault at each stage comes to, while another upstream is
// usable: stage and reply, verdict, whose fault, and how long it takes.
var matrix = map[string]map[string]string{
	"greeting": {
		"hang":    "greeting error, next network, 15s",
		"close":   "greeting error, next network, 0s",
		"reset":   "greeting error, next network, 0s",
		"451":     "greeting 451, next network, 0s",
		"554":     "greeting 554, next policy, 0s",
		"garbage": "greeting error, next identity, 0s",
		"flood":   "greeting error, next identity, 0s",
		"slow":    "greeting error, next network, 15s",
	},
	"ehlo": {
		"hang":    "ehlo error, next network, 15s",
		"close":   "ehlo error, next network, 0s",
		"reset":   "ehlo error, next network, 0s",
		"451":     "ehlo 451, next temporary, 0s",
		"554":     "ehlo 554, next policy, 0s",
		"garbage": "ehlo error, next session, 0s",
		"flood":   "ehlo error, next session, 0s",
		"slow":    "ehlo error, next network, 15s",
	},
	"starttls": {
		"hang":    "starttls error, next network, 15s",
		"close":   "starttls error, next network, 0s",
		"reset":   "starttls error, next network, 0s",
		"451":     "starttls 451, next temporary, 0s",
		"554":     "starttls 554, next identity, 0s",
		"garbage": "starttls error, next session, 0s",
		"flood":   "starttls error, next session, 0s",
	},
	"tls": {
		"hang":    "starttls error, next network, 15s",
		"close":   "starttls error, next network, 0s",
		"reset":   "starttls error, next network, 0s",
		"451":     "starttls error, next identity, 0s",
		"garbage": "starttls error, next identity, 0s",
		"flood":   "starttls error, next identity, 0s",
	},
	"auth": {
		"hang":    "auth error, next network, 15s",
		"close":   "auth error, next network, 0s",
		"reset":   "auth error, next network, 0s",
		"451":     "auth 451, next temporary, 0s",
		"554":     "auth 554, next account, 0s",
		"garbage": "auth error, next session, 0s",
		"flood":   "auth error, next session, 0s",
	},
	"mail": {
		"hang":    "mail error, next network, 18s", // all of set-up
		"close":   "mail error, next network, 0s",
		"reset":   "mail error, next network, 0s",
		"451":     "mail 451, next temporary, 0s",
		"421":     "mail 421, next session, 0s",
		"554":     "mail 554, next unknown, 0s",
		"354 odd": "mail error, next session, 0s",
		"garbage": "mail error, next session, 0s",
		"flood":   "mail error, next session, 0s",
	},
	"rcpt": {
		"hang":         "rcpt error, next network, 1m0s",
		"close":        "rcpt error, next network, 0s",
		"reset":        "rcpt error, next network, 0s",
		"451":          "rcpt 451, next temporary, 0s",
		"554":          "rcpt 554, next unknown, 0s",
		"550 5.1.1 no": "rcpt 550, bounce recipient, 0s",
		"354 odd":      "rcpt error, next session, 0s",
		"garbage":      "rcpt error, next session, 0s",
		"flood":        "rcpt error, next session, 0s",
	},
	"data": {
		"hang":    "data error, next network, 1m0s",
		"close":   "data error, next network, 0s",
		"reset":   "data error, next network, 0s",
		"451":     "data 451, next temporary, 0s",
		"554":     "data 554, next unknown, 0s",
		"250 odd": "data error, next session, 0s",
		"garbage": "data error, next session, 0s",
		"flood":   "data error, next session, 0s",
	},
	"body": {
		"hang":                     "body error, next network, 3m5s", // a stalled block, and time for last words
		"close":                    "body error, next network, 0s",
		"reset":                    "body error, next network, 0s",
		"552 5.3.4 too big":        "body 552, next size, 0s",
		"552 5.3.4 too big; close": "body 552, next size, 0s",
		"451":                      "body 451, next temporary, 0s",
		"250 ok":                   "body error, next session, 0s",
		"garbage":                  "body error, next session, 0s",
	},
	"dot": {
		"hang":                 "dot in doubt, in-doubt session, 10m0s",
		"close":                "dot in doubt, in-doubt session, 0s",
		"reset":                "dot in doubt, in-doubt session, 0s",
		"take; close":          "dot in doubt, in-doubt session, 0s",
		"451":                  "dot 451, next temporary, 0s",
		"421":                  "dot 421, next session, 0s",
		"554":                  "dot 554, next unknown, 0s",
		"354 odd":              "dot in doubt, in-doubt session, 0s",
		"garbage":              "dot in doubt, in-doubt session, 0s",
		"flood":                "dot in doubt, in-doubt session, 0s",
		"200 odd":              "dot 200, delivered , 0s",
		"251 odd":              "dot 251, delivered , 0s",
		"250; close":           "dot 250, delivered , 0s",
		"250 ok; 554 5.0.0 no": "dot 250, delivered , 0s",
		"delay 9m":             "dot 250, delivered , 9m0s",
	},
	"quit": {
		"hang": "dot 250, delivered , 0s",
	},
}

func TestStageAndFault(t *testing.T) {
	id, err := sink.NewIdentity(host)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat(strings.Repeat("x", 76)+"\r\n", 5000)
	for stage, faulty := range matrix {
		for fault, want := range faulty {
			for name, without := range map[string][]string{"pipelined": nil, "lock-step": {"PIPELINING"}} {
				t.Run(stage+"="+fault+" "+name, func(t *testing.T) {
					inWorld(t, sink.Options{
						TLS: id.Server, Without: without, Users: map[string]string{"ann": "pw"},
						Faults: faults(t, stage+"="+fault),
					}, Options{
						Endpoints: []Endpoint{{Mode: RequireStartTLS, Host: host, Port: "25", Roots: id.Roots}},
						Username:  "ann", Password: password("pw"),
					}, func(w *world) {
						d := mail(letter, "b@example.com")
						if stage == "body" {
							d = mail(long, "b@example.com")
						}
						d.Hurry = true
						res := w.deliver(d)
						r := res.Rcpts[0]
						verdict, scope := classify(r.Stage, r.Reply, r.Err, "b@example.com")
						got := fmt.Sprintf("%s, %s %s, %v", brief(r), verdict, scope, res.Took.Truncate(time.Second))
						if got != want {
							t.Errorf("got %s (%v), want %s", got, r, want)
						}
						taken := map[bool]int{true: 1}[verdict == Delivered || strings.Contains(fault, "take")]
						if n := w.sink.Count(); n != taken {
							t.Errorf("the upstream took %d messages, want %d", n, taken)
						}
						if res.Served != (r.Stage >= Rcpt || r.Stage == Mail && r.Reply.Code != 0) {
							t.Errorf("served: %v", res.Served)
						}
						if r.Err != nil && w.kept() > 0 {
							t.Error("a broken session was kept")
						}
					})
				})
			}
		}
	}
}

// TestStageAndSlow shows that an upstream of one octet a second is served when
// there is no other, and left when there is.
func TestStageAndSlow(t *testing.T) {
	for stage, want := range map[string][2]string{
		"greeting": {"dot 250", "greeting error"},
		"ehlo":     {"dot 250", "ehlo error"},
		"mail":     {"dot 250", "dot 250"},
		"dot":      {"dot 250", "dot 250"},
	} {
		for i, hurry := range []bool{false, true} {
			inWorld(t, sink.Options{Faults: faults(t, stage+"=slow")}, Options{}, func(w *world) {
				d := mail(letter, "b@example.com")
				d.Hurry = hurry
				w.want(w.deliver(d), want[i])
			})
		}
	}
}
