package interop

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"mailroam/gateway/e2e/peers"
)

// mailbox is where an upstream puts mail: all messages that arrived under a name.
type mailbox func(name string) ([][]byte, error)

// await returns the one message of a mailbox once it is there.
func (m mailbox) await(t *testing.T, name string) []byte {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		got, err := m(name)
		if err != nil {
			t.Fatal(err)
		}
		switch {
		case len(got) == 1:
			return got[0]
		case len(got) > 1:
			t.Fatalf("%s got %d copies", name, len(got))
		case time.Now().After(deadline):
			t.Fatalf("nothing arrived for %s", name)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// maildir reads a folder of Maildirs, whose files keep a line's end as LF alone.
func maildir(folder string) mailbox {
	return func(name string) ([][]byte, error) {
		messages, err := peers.Mailbox(folder, name)
		for i, m := range messages {
			messages[i] = crlf(string(m))
		}
		return messages, err
	}
}

// crlf gives text the line ends of the wire.
func crlf(text string) []byte { return []byte(strings.ReplaceAll(text, "\n", "\r\n")) }

// unchanged checks that arrived is submitted, octet for octet, below fields that
// the upstream and the gateway may add.
func unchanged(submitted, arrived []byte, upstreamHost string) error {
	added, ok := bytes.CutSuffix(arrived, submitted)
	if !ok {
		return difference(submitted, arrived)
	}
	names, err := fieldNames(added, upstreamHost)
	if err != nil {
		return err
	}
	want := []string{"Received by " + hostname}
	for _, name := range []string{"Date", "Message-Id"} {
		if !hasField(submitted, name) {
			want = append(want, name)
		}
	}
	slices.Sort(names)
	slices.Sort(want)
	if !slices.Equal(names, want) {
		return fmt.Errorf("the gateway added %q, it owed %q", names, want)
	}
	return nil
}

// fieldNames are the names of the added fields that are not the upstream's own.
func fieldNames(added []byte, upstreamHost string) ([]string, error) {
	text := strings.ReplaceAll(string(added), "\r\n\t", " ")
	text = strings.ReplaceAll(text, "\r\n ", " ")
	var names []string
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("not a field: %q", line)
		}
		switch name = canonical(name); {
		case slices.Contains([]string{"Return-Path", "X-Original-To", "Delivered-To", "Envelope-To"}, name):
		case name == "Received" && upstreamHost != "" && strings.Contains(value, " by "+upstreamHost+" "):
		case name == "Received" && strings.Contains(value, "by "+hostname+" "):
			names = append(names, "Received by "+hostname)
		default:
			names = append(names, name)
		}
	}
	return names, nil
}

func canonical(name string) string {
	words := strings.Split(strings.ToLower(name), "-")
	for i, w := range words {
		if w != "" {
			words[i] = strings.ToUpper(w[:1]) + w[1:]
		}
	}
	return strings.Join(words, "-")
}

func hasField(message []byte, name string) bool {
	header, _, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	for line := range bytes.Lines(header) {
		if field, _, ok := bytes.Cut(line, []byte(":")); ok && strings.EqualFold(string(field), name) {
			return true
		}
	}
	return false
}

// difference says where, counted from the end, the two part.
func difference(submitted, arrived []byte) error {
	n := 0
	for n < len(submitted) && n < len(arrived) && submitted[len(submitted)-1-n] == arrived[len(arrived)-1-n] {
		n++
	}
	around := func(b []byte) string {
		end := len(b) - n
		return fmt.Sprintf("%q", b[max(0, end-60):min(len(b), end+20)])
	}
	return fmt.Errorf("arrived differs from submitted (sha256 %x): %d octets from the end, submitted %s, arrived %s",
		sha256.Sum256(submitted), n, around(submitted), around(arrived))
}

// TestUnchangedSeesChanges keeps the comparison honest: it needs no server.
func TestUnchangedSeesChanges(t *testing.T) {
	const (
		upstream  = "Return-Path: <a@example.org>\nReceived: from gw.example.org (gw [127.0.0.1])\n\tby postfix.test (Postfix) with ESMTPSA id 1;\n\tSun, 22 Nov 2026 08:00:00 +0000\n"
		ours      = "Received: by gw.example.org with ESMTP id 2;\n\tSun, 22 Nov 2026 08:00:00 +0000\n"
		date      = "Date: Sun, 22 Nov 2026 08:00:00 +0000\n"
		messageID = "Message-ID: <3@gw.example.org>\n"
		whole     = "Date: x\nMessage-ID: <1@y>\nSubject: s\n\n.dot\n"
		poor      = "Subject: s\n\nbody\n"
	)
	for _, c := range []struct {
		name               string
		submitted, arrived string
		ok                 bool
	}{
		{"whole message", whole, upstream + ours + whole, true},
		{"fields that were missing", poor, upstream + ours + date + messageID + poor, true},
		{"fields in the other order", poor, upstream + messageID + date + ours + poor, true},
		{"no upstream fields", poor, ours + date + messageID + poor, true},
		{"no Received", whole, upstream + whole, false},
		{"Received twice", whole, upstream + ours + ours + whole, false},
		{"Date though there was one", whole, upstream + ours + date + whole, false},
		{"Date missing", poor, upstream + ours + messageID + poor, false},
		{"a field nobody owes", whole, upstream + ours + "X-Mailer: m\n" + whole, false},
		{"octet changed", whole, upstream + ours + strings.Replace(whole, "dot", "dOt", 1), false},
		{"dot lost", whole, upstream + ours + strings.Replace(whole, ".dot", "dot", 1), false},
		{"line added at the end", whole, upstream + ours + whole + "\n", false},
		{"header rewritten", whole, upstream + ours + strings.Replace(whole, "Subject: s", "Subject:  s", 1), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := unchanged(crlf(c.submitted), crlf(c.arrived), "postfix.test")
			if (err == nil) != c.ok {
				t.Errorf("unchanged: %v, want ok %v", err, c.ok)
			}
		})
	}
}
