package relay

import "testing"

func TestParseReply(t *testing.T) {
	want := Reply{Code: 550, Enhanced: "5.7.1", Text: "5.7.1 one\n5.7.1 two"}
	for _, text := range []string{
		"550-5.7.1 one\r\n550 5.7.1 two\r\n", "550-5.7.1 one\n550 5.7.1 two", "  550-5.7.1 one 550 5.7.1 two ", "550-5.7.1 one\n 5.7.1 two",
	} {
		if r, err := ParseReply(text); err != nil || r != want {
			t.Errorf("%q: %q, %v", text, r, err)
		}
	}
	for text, want := range map[string]Reply{
		"550":                               {Code: 550},
		"421 ":                              {Code: 421},
		"250 2.0.0 taken":                   {Code: 250, Enhanced: "2.0.0", Text: "2.0.0 taken"},
		"550 5.1.1 call 550 1234":           {Code: 550, Enhanced: "5.1.1", Text: "5.1.1 call 550 1234"},
		"550 4.1.1 of another class":        {Code: 550, Text: "4.1.1 of another class"},
		"454 Throttling failure: 454 mails": {Code: 454, Text: "Throttling failure: 454 mails"},
	} {
		if r, err := ParseReply(text); err != nil || r != want {
			t.Errorf("%q: %q, %v", text, r, err)
		}
	}
	for _, text := range []string{"", "no such user", "5.1.1 no such user", "5501 x", "650 x", "150 x", "55"} {
		if r, err := ParseReply(text); err == nil {
			t.Errorf("%q: %q", text, r)
		}
	}
}
