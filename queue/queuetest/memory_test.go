package queuetest_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"mailroam/queue"
	"mailroam/queue/queuetest"
)

func TestMemoryClaimWakesAtTheDueTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := queuetest.NewMemory()
		ses, err := st.Join(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		id, due := queue.NewID(), time.Now().Add(time.Minute)
		d, err := ses.NewDraft(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		d.Write([]byte("hello"))
		n := queue.NewMessage{ID: id, Accepted: time.Now(), Recipients: []string{"b@example.org"}, Filing: queue.Filing{Lane: "a", Due: due}}
		if _, err := d.Commit(context.Background(), "", n); err != nil {
			t.Fatal(err)
		}
		cs, err := ses.Claim(t.Context(), queue.ClaimRequest{Lanes: []queue.LaneRequest{{Lane: "a", Upstream: "up"}}, Slots: map[string]int{"up": 1}})
		if err != nil || len(cs) != 1 || !time.Now().Equal(due) {
			t.Fatalf("claims %v, error %v, at %v", cs, err, time.Now())
		}
	})
}
