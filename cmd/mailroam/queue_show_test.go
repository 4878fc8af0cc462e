package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"mailroam/queue"
)

// TestShow is what a person reads about a message with everything in it.
func TestShow(t *testing.T) {
	now := time.Date(2030, 1, 2, 12, 0, 0, 0, time.Local)
	at := func(ago time.Duration) time.Time { return now.Add(-ago) }
	no := func(upstream, text string, ago time.Duration) queue.Answer {
		return queue.Answer{Upstream: upstream, Code: 550, Enhanced: "5.7.1", Text: text, At: at(ago), Scope: "sender"}
	}
	m := queue.Message{
		ID: queue.ID{1}, State: queue.Queued, Accepted: at(3 * time.Hour), ReversePath: "ann@example.com", Size: 4321,
		Content: queue.Content{Authors: []string{"boss@example.com"}, MessageID: "1@example.com", UTF8: true, RequireTLS: true},
		Return:  queue.Return{Full: true, EnvID: "QQ31"},
		Client:  queue.Client{Addr: "127.0.0.1", Helo: "laptop"},
		Filing:  queue.Filing{Due: now.Add(5 * time.Minute)}, Warned: at(2 * time.Hour), Barred: time.Hour,
		Recipients: []queue.Recipient{
			{
				Address: "bob@example.net", State: queue.Pending, Last: no("backup", "not yours", 2*time.Hour),
				Said: []queue.Answer{no("work", "not you", 2*time.Hour), no("backup", "not yours", 2*time.Hour)}, Notify: queue.NotifyFailure | queue.NotifyDelay, ORcpt: "rfc822;bob@example.net",
			},
			{Address: "cy@example.net", State: queue.Pending, Doubt: &queue.Doubt{Upstream: "work", At: at(time.Minute), Unacked: true}, Last: queue.Answer{Upstream: "work", Text: "connection reset"}},
		},
		Attempts: []queue.Attempt{
			{At: at(2 * time.Hour), Took: time.Second, Upstream: "work", Endpoint: "mail.example.com:465", Stage: "rcpt", Verdict: "next", Code: 550, Enhanced: "5.7.1", Text: "not you", Scope: "sender", Rule: "enhanced code 5.7.1", Why: "another upstream may take it (sender)", Rcpts: []int{0}},
			{At: at(time.Minute), Took: time.Second, Upstream: "work", Stage: "dot", Verdict: "in-doubt", Text: "connection reset", Why: "the same upstream is asked first", Rcpts: []int{1}},
		},
	}
	var b bytes.Buffer
	a := &app{out: &b, err: &b, program: "mailroam"}
	a.showMessage(m, 24*time.Hour, now)
	const want = `04000000000000000000000000  queued, in doubt
  from        ann@example.com
  author      boss@example.com
  message-id  <1@example.com>
  accepted    09:00:00 (3h ago), from 127.0.0.1 (laptop)
  size        4.3 kB
  needs       SMTPUTF8: an address or the header is beyond ASCII; REQUIRETLS: verified TLS all the way
  notices     all of it comes back in one (RET=FULL); it is called QQ31 there (ENVID); told of the delay at 2030-01-02 10:00:00
  next try    in 5m
  refused     by all that may send it, for its sender or by their policy, since 10:00:00 (2h ago)
              if nothing changes, its sender gets it back after 1d online from then (queue.policy_hold)
              when it is mended: mailroam queue retry 04000000000000000000000000
              give it up now: mailroam queue fail 04000000000000000000000000
  to  bob@example.net  pending  backup: 550 5.7.1 not yours
                                work: 550 5.7.1 not you
                                asked for NOTIFY=FAILURE,DELAY ORCPT=rfc822;bob@example.net
  to  cy@example.net   pending  work may have it since 11:59:00, so it is asked first: its machine did not even acknowledge the end of it, so probably not. work: connection reset

  TIME      UPSTREAM                     STAGE  TOOK  VERDICT                      REPLY
  10:00:00  work (mail.example.com:465)  rcpt   1.0s  next for bob@example.net     550 5.7.1 not you
            another upstream may take it (sender) [enhanced code 5.7.1]
  11:59:00  work                         dot    1.0s  in-doubt for cy@example.net  connection reset
            the same upstream is asked first
`
	if got := b.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What queue show says of a message must be true of it: a held notice never goes
// back to its sender, and an upstream that may have a message did not refuse it.
func TestShowSaysNothingUntrue(t *testing.T) {
	now := time.Date(2030, 1, 2, 12, 0, 0, 0, time.Local)
	lost := queue.Answer{Upstream: "work", Text: "connection reset"}
	for _, tt := range []struct {
		name  string
		m     queue.Message
		never []string
	}{
		{
			"a barred notice is held",
			queue.Message{State: queue.Held, Barred: time.Hour, Held: queue.Hold{Reason: "nobody takes it", Since: now}, Recipients: []queue.Recipient{{Address: "ann@example.com", State: queue.Pending}}},
			[]string{"its sender gets it back", "queue retry"},
		},
		{
			"in doubt",
			queue.Message{
				State: queue.Queued, Filing: queue.Filing{Due: now.Add(10 * time.Minute)},
				Refusals:   []queue.Refusal{{Upstream: "work", Until: now.Add(10 * time.Minute), Answer: lost}},
				Recipients: []queue.Recipient{{Address: "bob@example.net", State: queue.Pending, Doubt: &queue.Doubt{Upstream: "work", At: now}, Last: lost}},
			},
			[]string{"refused"},
		},
		{
			"who refused what another one took is asked for it no more",
			queue.Message{
				State: queue.Done, Ended: now,
				Refusals:   []queue.Refusal{{Upstream: "work", Until: now.Add(time.Hour), Perm: true, Answer: queue.Answer{Upstream: "work", Enhanced: "5.7.1", Text: "relays nothing for this sender: 550 not you"}}},
				Recipients: []queue.Recipient{{Address: "bob@example.net", State: queue.Delivered, Last: queue.Answer{Upstream: "home", Code: 250}}},
			},
			[]string{"until", "5.7.1"}, // nobody gave it that code
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b bytes.Buffer
			(&app{out: &b, err: &b, program: "mailroam"}).showMessage(tt.m, 24*time.Hour, now)
			for _, never := range tt.never {
				if strings.Contains(b.String(), never) {
					t.Errorf("%q in\n%s", never, b.String())
				}
			}
		})
	}
}
