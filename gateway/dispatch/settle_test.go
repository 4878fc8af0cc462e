package dispatch

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/relay"
	"mailroam/queue"
)

// TestLogNamesWhoDelivered: each line names the upstream that took, or refused,
// those whom it lists.
func TestLogNamesWhoDelivered(t *testing.T) {
	live(t, both, func(w *world) {
		var log bytes.Buffer
		w.log = &log
		w.restart(both)
		w.pass(time.Second)
		answers := func(codes ...int) func(int, relay.Delivery) *relay.Result {
			return func(_ int, d relay.Delivery) *relay.Result {
				r := relay.Result{Served: true}
				for k := range d.Recipients {
					stage := relay.Rcpt
					if codes[k] == 250 {
						stage = relay.Dot
					}
					r.Rcpts = append(r.Rcpts, relay.RcptResult{Stage: stage, Reply: relay.Reply{Code: codes[k], Text: "so"}})
				}
				return &r
			}
		}
		w.peers["a"].plays(answers(250, 451, 451))
		w.peers["b"].plays(answers(250, 450))
		id := w.submit("ann@example.com", "one@example.net", "two@example.net", "three@example.net")
		w.pass(time.Second)
		w.wantState(id, queue.Queued)
		w.end()
		w.end = func() {}
		var got []string
		for _, m := range regexp.MustCompile(`msg=(delivered|deferred).* to=\[(.*)\] upstream=(\w*)`).FindAllStringSubmatch(log.String(), -1) {
			got = append(got, m[1]+" "+m[2]+" "+m[3])
		}
		if want := []string{"delivered one@example.net a", "delivered two@example.net b", "deferred three@example.net b"}; !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// TestLogTellsDoubtAndHold: mail in doubt that a person decides on is both.
func TestLogTellsDoubtAndHold(t *testing.T) {
	live(t, both, func(w *world) {
		var log bytes.Buffer
		w.log = &log
		w.edit = func(c *Config) { c.InDoubt = HoldInDoubt }
		w.restart(both)
		w.pass(time.Second)
		w.peers["a"].plays(first(lost))
		id := w.submit("ann@example.com", "bob@example.net")
		w.pass(time.Second)
		w.wantState(id, queue.Held)
		w.end()
		w.end = func() {}
		var got []string
		for _, m := range regexp.MustCompile(`msg=(in-doubt|held) `).FindAllStringSubmatch(log.String(), -1) {
			got = append(got, m[1])
		}
		if want := []string{"in-doubt", "held"}; !slices.Equal(got, want) || strings.Contains(log.String(), "due=0001") {
			t.Errorf("the log tells %q\n%s", got, log.String())
		}
	})
}

// TestFaultSaysWhatToDo: a provider's rule knows, and a password that cannot be had
// is no fault of the upstream's.
func TestFaultSaysWhatToDo(t *testing.T) {
	known := relay.Meaning{Scope: relay.ScopeAccount, By: &relay.Rule{Remedy: "make an app password"}}
	refused := relay.RcptResult{Stage: relay.Auth, Reply: relay.Reply{Code: 534}}
	if f := faultOf(known, refused, queue.Answer{}); f.Remedy != "make an app password" {
		t.Errorf("%+v", f)
	}
	locked := relay.RcptResult{Stage: relay.Auth, Err: fmt.Errorf("%w: exit status 1", relay.ErrPassword)}
	if f := faultOf(relay.Meaning{Scope: relay.ScopeSession}, locked, queue.Answer{}); !strings.HasPrefix(f.Remedy, "mend what gives the password") {
		t.Errorf("%+v", f)
	}
	unknown := relay.RcptResult{Stage: relay.Auth, Err: errors.New("no way to log in that both sides know")}
	if f := faultOf(relay.Meaning{Scope: relay.ScopeAccount}, unknown, queue.Answer{}); !strings.HasPrefix(f.Remedy, "correct auth") {
		t.Errorf("%+v", f)
	}
}
