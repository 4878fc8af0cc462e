package admin

import (
	"reflect"
	"testing"
	"time"

	"mailroam/queue"
)

// What is asked for arrives whole: a filter that was lost on the way would act
// on mail nobody meant.
func TestSelectionTravels(t *testing.T) {
	s := Selection{
		IDs: []string{"a", "b"}, All: true, From: "ann@", To: "bob@", MessageID: "1@example.com",
		States: []queue.State{queue.Held, queue.Done}, Doubt: true, Before: time.Unix(1e9, 5).UTC(),
	}
	for v, i := reflect.ValueOf(s), 0; i < v.NumField(); i++ {
		if v.Field(i).IsZero() {
			t.Errorf("%s is not tried", v.Type().Field(i).Name)
		}
	}
	got, err := parseSelection(s.query())
	if err != nil || !reflect.DeepEqual(got, s) {
		t.Errorf("%+v, %v, want %+v", got, err, s)
	}
	if !(Selection{MessageID: "x"}).Narrow() || (Selection{All: true}).Narrow() {
		t.Error("a Message-ID names no message, or all are few")
	}
}
