package dsn

import (
	"testing"

	"mailroam/queue"
)

func TestReason(t *testing.T) {
	for _, c := range []struct {
		code         int
		enhanced, by string
		want         reason
	}{
		{550, "5.1.1", "recipient", noMailbox},
		{550, "", "recipient", noMailbox},
		{550, "5.1.2", "recipient", noDomain},
		{556, "5.1.10", "recipient", noDomain},
		{553, "5.1.3", "recipient", noAddress},
		{551, "5.1.6", "recipient", moved},
		{550, "5.2.1", "recipient", closed},
		{552, "5.2.2", "recipient", full},
		{452, "4.2.2", "recipient", full},
		{552, "5.3.4", "size", tooLarge},
		{552, "", "size", tooLarge},
		{550, "5.7.1", "sender", notAsSender},
		{550, "5.4.5", "quota", overQuota},
		{452, "", "quota", overQuota},
		{535, "5.7.8", "account", noLogin},
		{554, "5.7.1", "policy", notWanted},
		{554, "", "place", notWanted},
		{554, "5.7.1", "message", content},
		{554, "", "message", content},
		{554, "5.6.0", "message", badForm},
		{554, "5.4.6", "message", looping},
		{550, "5.6.7", "unknown", foreign},
		{550, "5.7.1", "unknown", notWanted},
		{550, "5.7.1", "", notWanted},
		{554, "5.0.0", "unknown", unclear},
		{550, "", "unknown", unclear},
		{550, "odd", "unknown", unclear},
		{421, "", "session", notNow},
		{451, "4.3.0", "temporary", notNow},
		{0, "", "network", unreachable},
	} {
		e := queue.Recipient{Last: queue.Answer{Upstream: "work", Code: c.code, Enhanced: c.enhanced, Scope: c.by}}
		if got := reasonOf(e); got != c.want {
			t.Errorf("%d %s, %s: %q, want %q", c.code, c.enhanced, c.by, got.why, c.want.why)
		}
	}
	met := queue.Recipient{
		Last: queue.Answer{Upstream: "work", Text: "connection refused"},
		Said: []queue.Answer{{Upstream: "backup", Code: 452, Enhanced: "4.2.2"}, {Upstream: "work", Text: "connection refused"}},
	}
	if got := reasonOf(met); got != full {
		t.Errorf("what somebody said counts less than who could not be reached: %q", got.why)
	}
}
