package dispatch

import (
	"bytes"
	"regexp"
	"slices"
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
