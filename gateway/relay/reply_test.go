package relay

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestReadReply(t *testing.T) {
	for in, want := range map[string]Reply{
		"250 ok\r\n":                                {250, "", "ok"},
		"250\r\n":                                   {250, "", ""},
		"250 \r\n":                                  {250, "", ""},
		"250-\r\n250\r\n":                           {250, "", "\n"},
		"250-a\r\n250-b\r\n250 c\r\n":               {250, "", "a\nb\nc"},
		"250 ok\n":                                  {250, "", "ok"},
		"251 2.1.5 forwards\r\n":                    {251, "2.1.5", "2.1.5 forwards"},
		"550 5.1.1\r\n":                             {550, "5.1.1", "5.1.1"},
		"550-sorry\r\n550 5.1.1 no\r\n":             {550, "5.1.1", "sorry\n5.1.1 no"},
		"550 4.2.2 other class\r\n":                 {550, "", "4.2.2 other class"},
		"550 5.1.1.1 no\r\n":                        {550, "", "5.1.1.1 no"},
		"550 5.1.1234 no\r\n":                       {550, "", "5.1.1234 no"},
		"550 5.1x no\r\n":                           {550, "", "5.1x no"},
		"354 3.0.0 go\r\n":                          {354, "", "3.0.0 go"},
		"250-all\r\n451 4.3.0 is not well\r\n":      {451, "4.3.0", "all\n4.3.0 is not well"},
		"599 \x00\xff\x1b[31m\r\n":                  {599, "", "\x00\xff\x1b[31m"},
		"250 " + strings.Repeat("x", 5000) + "\r\n": {250, "", strings.Repeat("x", 5000)},
	} {
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "by octet": iotest.OneByteReader(strings.NewReader(in))} {
			got, err := readReply(bufio.NewReaderSize(r, 64))
			if err != nil || got != want {
				t.Errorf("%q %s: got %q, %v; want %q", in, name, got, err, want)
			}
		}
	}
}

func TestReadReplyRefuses(t *testing.T) {
	for in, want := range map[string]error{
		"":                                   io.EOF,
		"250 ok":                             io.EOF,
		"250-ok\r\n":                         io.EOF,
		"\r\n":                               errReplySyntax,
		"25\r\n":                             errReplySyntax,
		"2500 ok\r\n":                        errReplySyntax,
		"25x ok\r\n":                         errReplySyntax,
		"150 ok\r\n":                         errReplySyntax,
		"650 ok\r\n":                         errReplySyntax,
		"050 ok\r\n":                         errReplySyntax,
		"250+ok\r\n":                         errReplySyntax,
		" 250 ok\r\n":                        errReplySyntax,
		"250-a\r\nb\r\n250 c\r\n":            errReplySyntax,
		"HTTP/1.1 400 Bad Request\r\n":       errReplySyntax,
		"SSH-2.0-OpenSSH\r\n":                errReplySyntax,
		strings.Repeat("250-\r\n", 201):      errReplySize,
		"250 " + strings.Repeat("x", 64<<10): errReplySize,
		strings.Repeat("250-"+strings.Repeat("x", 1000)+"\r\n", 100): errReplySize,
	} {
		if r, err := readReply(bufio.NewReader(strings.NewReader(in))); !errors.Is(err, want) {
			t.Errorf("%.40q: got %v, %v; want %v", in, r, err, want)
		} else if want == io.EOF && !strings.Contains(err.Error(), "closed the connection") {
			t.Errorf("%.40q: %q tells a person nothing", in, err)
		}
	}
}

// endless repeats a text and counts what was taken.
type endless struct {
	text string
	n    int
}

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = e.text[(e.n+i)%len(e.text)]
	}
	e.n += len(p)
	return len(p), nil
}

// TestReplyBudget gives it all an upstream has.
func TestReplyBudget(t *testing.T) {
	for _, text := range []string{"250-\r\n", "250-xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n", "2"} {
		src := &endless{text: text}
		if _, err := readReply(bufio.NewReader(src)); !errors.Is(err, errReplySize) {
			t.Errorf("%.10q: %v", text, err)
		}
		if src.n > maxReplyBytes+8<<10 {
			t.Errorf("%.10q: %d octets were read", text, src.n)
		}
	}
}

func FuzzReadReply(f *testing.F) {
	f.Add("250-a\r\n250 2.0.0 b\r\n220 next\r\n")
	f.Add("250\n")
	f.Fuzz(func(t *testing.T, in string) {
		r, err := readReply(bufio.NewReaderSize(strings.NewReader(in), 16))
		if err != nil {
			return
		}
		if r.Code < 200 || r.Code > 599 || len(r.Text) > maxReplyBytes || strings.Count(r.Text, "\n") >= maxReplyLines {
			t.Errorf("out of bounds: %d, %d octets", r.Code, len(r.Text))
		}
		if r.Enhanced != "" && r.Enhanced[0] != byte('0'+r.Code/100) {
			t.Errorf("class of %q in %d", r.Enhanced, r.Code)
		}
		// Written down plainly it must read the same.
		var plain strings.Builder
		lines := strings.Split(r.Text, "\n")
		for i, l := range lines {
			sep := '-'
			if i == len(lines)-1 {
				sep = ' '
			}
			fmt.Fprintf(&plain, "%d%c%s\n", r.Code, sep, l)
		}
		// A CR that ends a text is part of the line end when read again.
		again, err := readReply(bufio.NewReader(strings.NewReader(plain.String())))
		if !strings.Contains(r.Text, "\r") && (err != nil || again != r) {
			t.Errorf("%q read again: %q, %v", r, again, err)
		}
	})
}

func TestParseEHLO(t *testing.T) {
	for in, want := range map[string]capabilities{
		"mx": {},
		"mx\nPIPELINING\n8BITMIME\nSTARTTLS\nSIZE 1000\nAUTH PLAIN LOGIN": {
			pipelining: true, eightBit: true, startTLS: true, sizeOffered: true, size: 1000, auth: []string{"PLAIN", "LOGIN"},
		},
		"mx\npipelining\n8BitMime\nstarttls\nsize 1000\nauth plain": {
			pipelining: true, eightBit: true, startTLS: true, sizeOffered: true, size: 1000, auth: []string{"PLAIN"},
		},
		"mx\nAUTH=LOGIN PLAIN":            {auth: []string{"LOGIN", "PLAIN"}},
		"mx\nAUTH LOGIN\nAUTH=LOGIN":      {auth: []string{"LOGIN", "LOGIN"}},
		"mx\nSIZE":                        {sizeOffered: true},
		"mx\nSIZE 0":                      {sizeOffered: true},
		"mx\nSIZE x":                      {sizeOffered: true},
		"mx\nSIZE 99999999999999999999":   {sizeOffered: true},
		"PIPELINING\nXXXXXXXA\n\nAUTHORS": {},
	} {
		if got := parseEHLO(in); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%q: got %+v, want %+v", in, got, want)
		}
	}
}
