package queue_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"mailroam/queue"
)

func TestID(t *testing.T) {
	id := queue.NewID()
	s := id.String()
	if len(s) != 26 || strings.Trim(s, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
		t.Errorf("printed as %q", s)
	}
	// As somebody may type it who was told it over the telephone.
	for _, as := range []string{s, strings.ToLower(s), strings.ReplaceAll(s, "0", "O"), strings.ReplaceAll(s, "1", "l"), strings.ReplaceAll(s, "1", "I")} {
		if got, err := queue.ParseID(as); err != nil || got != id {
			t.Errorf("ParseID(%q) = %v, %v", as, got, err)
		}
	}
	for _, bad := range []string{"", s[1:], s + "0", "U" + s[1:], "-" + s[1:]} {
		if _, err := queue.ParseID(bad); !errors.Is(err, queue.ErrBadID) {
			t.Errorf("ParseID(%q): %v", bad, err)
		}
	}
	if id.IsZero() || !(queue.ID{}).IsZero() {
		t.Error("IsZero is wrong")
	}
	b, err := json.Marshal(id)
	var back queue.ID
	if err != nil || string(b) != `"`+s+`"` || json.Unmarshal(b, &back) != nil || back != id {
		t.Errorf("JSON %s, back %v, %v", b, back, err)
	}
	if json.Unmarshal([]byte(`"x"`), &back) == nil {
		t.Error("a bad ID was read from JSON")
	}
}

func TestIDsSortByTime(t *testing.T) {
	var ids []string
	for range 100 {
		ids = append(ids, queue.NewID().String())
	}
	if !slices.IsSorted(ids) {
		t.Error("later IDs sort before earlier ones")
	}
}
