package dispatch

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestShowing(t *testing.T) {
	rest := "\r\n" + strings.Repeat("From: not a field\r\n", 10000)
	for name, tt := range map[string]struct{ in, want string }{
		"a message":        {"Subject: s\r\nFrom: Ann <ann@x.example>\r\n" + rest, "Subject: s\r\nFrom: Ann <me@y.example>\r\nReply-To: Ann <ann@x.example>\r\nX-Original-From: Ann <ann@x.example>\r\n" + rest},
		"a header alone":   {"Subject: s\r\n", "Subject: s\r\nFrom: me@y.example\r\n"},
		"its last line":    {"Subject: s\r\n\r\n", "Subject: s\r\nFrom: me@y.example\r\n\r\n"},
		"no header":        {"\r\ntext\r\n", "From: me@y.example\r\n\r\ntext\r\n"},
		"nothing":          {"", "From: me@y.example\r\n"},
		"a larger header":  {"X: " + strings.Repeat("a\r\n ", 60<<10) + "\r\n\r\nb", "X: " + strings.Repeat("a\r\n ", 60<<10) + "\r\nFrom: me@y.example\r\n\r\nb"},
		"an ended section": {strings.Repeat("a", 4<<10-2) + "\r\n\r\nFrom: b\r\n", strings.Repeat("a", 4<<10-2) + "\r\nFrom: me@y.example\r\n\r\nFrom: b\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			for _, how := range []func(io.Reader) io.Reader{func(r io.Reader) io.Reader { return r }, iotest.OneByteReader, iotest.DataErrReader} {
				opened := 0
				body := func(context.Context) (io.ReadCloser, error) {
					opened++
					return closing{how(strings.NewReader(tt.in)), &opened}, nil
				}
				shown, size, err := showing(t.Context(), "me@y.example", body, int64(len(tt.in)))
				if err != nil {
					t.Fatal(err)
				}
				for range 2 { // the same each time
					r, err := shown(t.Context())
					if err != nil {
						t.Fatal(err)
					}
					got, err := io.ReadAll(r)
					if err != nil || r.Close() != nil {
						t.Fatal(err)
					}
					if string(got) != tt.want {
						t.Errorf("got %.300q, want %.300q", got, tt.want)
					}
					if int64(len(got)) != size {
						t.Errorf("it has %d octets, and MAIL was told %d", len(got), size)
					}
				}
				if opened != 0 {
					t.Errorf("%d bodies left open", opened)
				}
			}
		})
	}
}

type closing struct {
	io.Reader
	opened *int
}

func (c closing) Close() error {
	*c.opened--
	return nil
}

func TestShowingFails(t *testing.T) {
	damaged := errors.New("damaged")
	read := func(text string, end error) opener {
		return func(context.Context) (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader(text), iotest.ErrReader(end))), nil
		}
	}
	if _, _, err := showing(t.Context(), "a@b.example", read("Subject: s\r\n", damaged), 100); !errors.Is(err, damaged) {
		t.Errorf("in the header: %v", err)
	}
	if _, _, err := showing(t.Context(), "a@b.example", read("X: "+strings.Repeat("a", maxSection), nil), 100); !errors.Is(err, errLargeHeader) {
		t.Errorf("without an end: %v", err)
	}
	shown, _, err := showing(t.Context(), "a@b.example", read("Subject: s\r\n\r\ntext", damaged), 100)
	if err != nil {
		t.Fatal(err)
	}
	r, err := shown(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); !errors.Is(err, damaged) || !bytes.HasSuffix(got, []byte("text")) {
		t.Errorf("in the text: %q, %v", got, err)
	}
}
