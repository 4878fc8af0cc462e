package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/admin"
	"mailroam/queue"
)

// A script cannot tell a span without a unit from one in seconds.
func TestSpansInJSONNameTheirUnit(t *testing.T) {
	m := queue.Message{
		Online: 90 * time.Minute, Barred: time.Hour,
		Recipients: []queue.Recipient{{Address: "bob@example.net", Doubt: &queue.Doubt{Upstream: "work", Online: 1500 * time.Millisecond}}},
		Attempts:   []queue.Attempt{{Took: 1234567 * time.Nanosecond, Upstream: "work"}},
	}
	b, err := json.Marshal(shownStatus{admin.Status{Held: []queue.Message{m}}, shownMessages([]queue.Message{m})})
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	for _, want := range []string{`"online_s":5400`, `"barred_s":3600`, `"online_s":1.5`, `"took_ms":1.2`, `"address":"bob@example.net"`} {
		if strings.Count(got, want) != 1 {
			t.Errorf("not once %s in %s", want, got)
		}
	}
	for _, bare := range []string{`"took":`, `"barred":3`, `"online":5`, `"online":1`} {
		if strings.Contains(got, bare) {
			t.Errorf("%s in %s", bare, got)
		}
	}
	if m.Attempts[0].Took == 0 || m.Recipients[0].Doubt.Online == 0 {
		t.Error("what was shown is changed")
	}
	b, err = json.Marshal(shownMessage(queue.Message{}))
	if got := string(b); err != nil || !strings.Contains(got, `"to":[]`) || !strings.Contains(got, `"timeline":[]`) {
		t.Errorf("empty lists are not empty: %s, %v", got, err)
	}
}
