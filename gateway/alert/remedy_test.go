package alert

import (
	"testing"
	"time"

	"mailroam/health"
)

// What people read of one upstream: how it is, what to do, and when it is tried
// again, in the time of where they are.
func TestWords(t *testing.T) {
	here := time.FixedZone("CET", 3600)
	now := noon.In(here)
	in := func(u health.Status, d time.Duration) health.Status { u.Until = noon.Add(d); return u }
	fresh := func(u health.Status) health.Status { u.Since = noon.Add(-100 * time.Millisecond); return u }
	known := func(u health.Status, remedy string) health.Status { u.Remedy = remedy; return u }
	const generic = "Correct username and password, which for many providers is an app password; if they are right, log in at this provider to see whether the account is in order. "
	for _, tt := range []struct {
		u         health.Status
		key, want string
	}{
		{in(locked("work"), time.Hour), "password_file", `"work" is cooling for 1m0s: 535 5.7.8 no. ` + generic + "Another password in its password_file is noticed by itself; after any other change send the gateway SIGHUP. It is tried again at 14:00:00 CET."},
		{in(locked("work"), 12*time.Hour), "password_command", `"work" is cooling for 1m0s: 535 5.7.8 no. ` + generic + "Its password_command is run again for the next login; after a change of the config send the gateway SIGHUP. It is tried again at 2026-03-02 01:00:00 CET."},
		{fresh(locked("work")), "password", `"work" is cooling: 535 5.7.8 no. ` + generic + "After a change of the config send the gateway SIGHUP."},
		{known(locked("work"), "make an app password"), "password_env", `"work" is cooling for 1m0s: 535 5.7.8 no. Make an app password. Another password in the environment takes a restart; after a change of the config send the gateway SIGHUP.`},
		{is("work", health.Trial, "452 daily limit", health.Quota), "", `"work" is on trial after 1m0s of trouble: 452 daily limit. Its quota is used up: wait, or ask the provider for more. The next message that comes to it tries it; ` + "`mailroam send-test ADDRESS` sends one."},
		{in(known(is("work", health.Cooling, "password_command: pass: exit status 1", health.Session), "mend what gives the password"), 5*time.Second), "password_command", `"work" is cooling for 1m0s: password_command: pass: exit status 1. Mend what gives the password. It is tried again at 13:00:05 CET.`},
		{is("work", health.Cooling, "421 closing", health.Session), "", `"work" is cooling for 1m0s: 421 closing. It answers and does not go through with it: wait, and ask the provider if it lasts.`},
		{down("work"), "", `"work" is down for 1m0s: connection refused. It is used again by itself when it answers; if it should answer now, check its urls and this network.`},
	} {
		if got := Standing(tt.u, now) + " " + Remedy(tt.u, tt.key, now); got != tt.want {
			t.Errorf("got  %s\nwant %s", got, tt.want)
		}
	}
}
