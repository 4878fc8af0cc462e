package main

import (
	"strings"
	"testing"
)

func TestReadable(t *testing.T) {
	const report = "From: gw@example.org\r\nSubject: =?utf-8?q?Nicht_zugestellt:_Gr=C3=BC=C3=9Fe?=\r\nContent-Type: multipart/report;\r\n boundary=\"b\"\r\n\r\n" +
		"--b\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\nYour message =E2=80=9Chi=E2=80=9D could not =\r\nbe delivered.\r\n"
	const want = "From: gw@example.org\nSubject: Nicht zugestellt: Grüße\n\nYour message “hi” could not be delivered."
	for _, tt := range []struct{ name, raw, want string }{
		{"a notice", report + "\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n--b--\r\n", want},
		{"cut in its middle", report, want},
		{"no MIME", "Subject: hi\r\n\r\nOne\r\n\r\nTwo\r\n", "Subject: hi\n\nOne\n\nTwo"},
		{"base64", "Content-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\nT25lIGxpbmU=\r\n", "\nOne line"},
		{"no text in it", "Subject: hi\r\nContent-Type: text/html\r\n\r\n<p>One\r\n", "Subject: hi\nContent-Type: text/html\n\n<p>One"},
		{"no such boundary", "Content-Type: multipart/mixed\r\n\r\nOne\r\n", "Content-Type: multipart/mixed\n\nOne"},
		{"no message", "garbage", "garbage"},
		{"nothing", "", ""},
	} {
		if got := strings.Join(readable([]byte(tt.raw)), "\n"); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Anybody may have written what is shown: parts within parts without end.
func FuzzReadable(f *testing.F) {
	f.Add([]byte("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\nx"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(readable(raw)) == 0 {
			t.Error("nothing is shown")
		}
	})
}
