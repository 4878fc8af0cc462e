package dsn

import (
	"bytes"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"os/exec"
	"strings"
	"testing"
)

// notice is what a program reads in one.
type notice struct {
	reportType string
	fields     []string // of its header, "Name: value"
	parts      []readPart
	status     [][]string // the same of its delivery status: of the message, then of each recipient
}

type readPart struct{ kind, encoding, text string }

func (n notice) header(name string) string {
	for _, f := range n.fields {
		if v, ok := strings.CutPrefix(f, name+": "); ok {
			return v
		}
	}
	return ""
}

func (n notice) shape() string {
	s := n.reportType + ":"
	for _, p := range n.parts {
		s += " " + p.kind
	}
	return s
}

func (n notice) wantStatus(t *testing.T, want ...[]string) {
	t.Helper()
	for i := range max(len(want), len(n.status)) {
		var g, w string
		if i < len(n.status) {
			g = strings.Join(n.status[i], "\n")
		}
		if i < len(want) {
			w = strings.Join(want[i], "\n")
		}
		if g != w {
			t.Errorf("status %d is\n%s\nwant\n%s", i, g, w)
		}
	}
}

// read lets Python's email package read a notice, which knows nothing of how it
// was written, and Go's; both must see the same.
func read(t *testing.T, body []byte) notice {
	t.Helper()
	return readAll(t, body)[0]
}

func readAll(t *testing.T, bodies ...[]byte) []notice {
	t.Helper()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("there is no python3 to read notices with")
	}
	in, err := json.Marshal(bodies)
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), python, "-I", "testdata/read.py")
	c.Stdin = bytes.NewReader(in)
	var stderr strings.Builder
	c.Stderr = &stderr
	out, err := c.Output()
	if err != nil {
		t.Fatalf("python3: %v: %s", err, stderr.String())
	}
	var all []struct {
		Type, Report string
		Header       [][2]string
		Defects      []string
		Parts        []struct{ Type, Encoding, Text string }
		Status       [][][2]string
	}
	if err := json.Unmarshal(out, &all); err != nil {
		t.Fatal(err)
	}
	var notices []notice
	for i, got := range all {
		if got.Type != "multipart/report" || len(got.Defects) > 0 {
			t.Errorf("%s with defects %v", got.Type, got.Defects)
		}
		n := notice{reportType: got.Report}
		for _, f := range got.Header {
			n.fields = append(n.fields, f[0]+": "+f[1])
		}
		for _, p := range got.Parts {
			n.parts = append(n.parts, readPart{p.Type, p.Encoding, strings.ReplaceAll(p.Text, "\r\n", "\n")})
		}
		for _, b := range got.Status {
			var fields []string
			for _, f := range b {
				fields = append(fields, f[0]+": "+f[1])
			}
			n.status = append(n.status, fields)
		}
		ours := parse(t, bodies[i])
		if n.shape() != ours.shape() {
			t.Errorf("Python reads %s, Go reads %s", n.shape(), ours.shape())
		}
		n.wantStatus(t, ours.status...)
		notices = append(notices, n)
	}
	return notices
}

// parse reads a notice with Go's library.
func parse(t testing.TB, body []byte) notice {
	t.Helper()
	m, err := mail.ReadMessage(bytes.NewReader(body))
	if err != nil {
		t.Fatalf("%v\n%s", err, body)
	}
	if _, err := m.Header.Date(); err != nil {
		t.Errorf("Date: %v", err)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" {
		t.Fatalf("Content-Type %q: %v", m.Header.Get("Content-Type"), err)
	}
	n := notice{reportType: params["report-type"]}
	for name, values := range m.Header {
		for _, v := range values {
			n.fields = append(n.fields, name+": "+v)
		}
	}
	for r := multipart.NewReader(m.Body, params["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, body)
		}
		encoding := p.Header.Get("Content-Transfer-Encoding")
		var in io.Reader = p
		if encoding == "quoted-printable" {
			in = quotedprintable.NewReader(p)
		}
		text, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		kind, _, _ := strings.Cut(p.Header.Get("Content-Type"), ";")
		n.parts = append(n.parts, readPart{kind, encoding, string(text)})
	}
	if len(n.parts) < 2 {
		t.Fatalf("%d parts\n%s", len(n.parts), body)
	}
	for block := range strings.SplitSeq(strings.Trim(n.parts[1].text, "\r\n"), "\r\n\r\n") {
		n.status = append(n.status, strings.Split(block, "\r\n"))
	}
	return n
}
