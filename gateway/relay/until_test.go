package relay

import (
	"strings"
	"testing"
	"time"
)

func TestAskedFor(t *testing.T) {
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]string{
		// As providers write it.
		"Domain example.org is not allowed to send: recipient limit exceeded, try again after Sun, 22 Nov 2026 19:22:44 UTC": "19:22:44",
		"Too many messages. Try again in 92 seconds.":                               "12:01:32",
		"4.2.0 Greylisted, please come back in 00:04:59":                            "12:04:59",
		"4.7.1 Greylisting in action, please try again later (in 5 minutes)":        "12:05:00",
		"4.7.1 Greylisted for 300 seconds":                                          "12:05:00",
		"retry in 1h":                                                               "13:00:00",
		"retry in 1h30m":                                                            "13:30:00",
		"Please try again in an hour.":                                              "13:00:00",
		"after 10 minutes":                                                          "",
		"try again after 10 minutes":                                                "12:10:00",
		"Try again in 1 hour and 30 minutes":                                        "13:30:00",
		"Please wait 1 hour, 5 min before you send":                                 "13:05:00",
		"blocked for 2 hours":                                                       "14:00:00",
		"please wait at least 15 minutes before retrying":                           "12:15:00",
		"please\nretry\nin 30\nseconds":                                             "12:00:30",
		"quota exceeded until 2026-11-22T18:00:00Z":                                 "18:00:00",
		"quota exceeded until 2026-11-22T18:00:00.123+02:00":                        "16:00:00",
		"not before 2026-11-22 18:00:00":                                            "18:00:00",
		"retry after Sunday, 22-Nov-26 13:00:00 GMT":                                "13:00:00",
		"retry after 22 Nov 2026 13:00 -0500":                                       "18:00:00",
		"retry after 22 Nov 2026 13:00:00 EST":                                      "18:00:00",
		"retry after 22 Nov 2026 13:00:00 XYZ":                                      "13:00:00",
		"retry after Sun Nov 22 13:00:00 2026":                                      "13:00:00",
		"TRY AGAIN AFTER NOVEMBER 22, 2026 AT 13:00":                                "13:00:00",
		"You have exceeded 100 messages per 1 hour, try again later":                "",
		"try again later. The limit is 100 in 1 hour":                               "",
		"the sender is limited to 500 recipients in 24 hours":                       "",
		"throttled: 100 messages in 1 hour":                                         "",
		"limited to 30 messages in 60 seconds, try again in 10 seconds":             "12:00:10",
		"try again later":                                                           "",
		"try again after Sun, 22 Nov 2026 11:00:00 UTC":                             "", // it is over
		"the account was suspended on 22 Nov 2020 13:00:00, wait":                   "",
		"try again in 0 seconds":                                                    "",
		"try again after 31 Feb 2027 13:00:00":                                      "",
		"try again after 22 Nov 2026 25:00:00":                                      "",
		"try again in 5 fortnights":                                                 "",
		"550 5.4.5 Daily user sending limit exceeded":                               "",
		"try again in 7 days":                                                       "24h",
		"try again after 1 Jan 2030 00:00:00 UTC":                                   "24h",
		"try again in 999999 days":                                                  "24h",
		"it was blocked. try again in 3 minutes":                                    "12:03:00",
		strings.Repeat("x ", 100_000) + "try again in 3 minutes":                    "", // nobody reads that far
		"try again in 3m":                                                           "12:03:00",
		"try again after 0000-00-00 00:00:00":                                       "",
		"Message rate limit reached, retry after 2026-11-22 12:30 UTC (see policy)": "12:30:00",
	} {
		until, ok := askedFor(text, now)
		got := ""
		switch {
		case ok && until.Sub(now) == 24*time.Hour:
			got = "24h"
		case ok:
			got = until.UTC().Format(time.TimeOnly)
		}
		if got != want {
			t.Errorf("%.80q: %q, want %q", text, got, want)
		}
	}
}

func FuzzAskedFor(f *testing.F) {
	f.Add("try again after Sun, 22 Nov 2026 19:22:44 UTC")
	f.Add("retry in 1h30m")
	f.Add("wait 00:04:59")
	f.Add("until 2026-11-22T18:00:00.123+99:99")
	now := time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, text string) {
		if until, ok := askedFor(text, now); ok && (!until.After(now) || until.Sub(now) > longestWait) {
			t.Errorf("%q: %v", text, until)
		}
	})
}
