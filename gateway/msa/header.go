package msa

import (
	"bytes"
	"io"

	"mailroam/gateway/header"
	"mailroam/queue"
)

const (
	maxHeader = 256 << 10
	headStep  = 4 << 10 // copied at a time while the end of the header is looked for
)

var (
	headerTooLarge = refuse(552, 5, 3, 4, "the header is larger than 256 KiB")
	loops          = refuse(554, 5, 4, 6, "the message goes round in a loop: it has passed here before, or too many hosts")
	blankLine      = []byte("\r\n\r\n")
)

// heading holds the header of a message back until it has it all, writes the
// block of new fields above it, and then passes everything on.
type heading struct {
	w       io.Writer
	trace   *trace
	maxHops int
	buf     []byte
	done    bool
	facts   header.Facts // when done
}

func (h *heading) Write(p []byte) (int, error) {
	n := len(p)
	for !h.done && len(p) > 0 {
		step := p[:min(headStep, len(p))]
		from := max(0, len(h.buf)-len(blankLine)+1)
		h.buf = append(h.buf, step...)
		p = p[len(step):]
		if end, ok := headerEnd(h.buf, from); ok && end <= maxHeader {
			if err := h.release(end); err != nil {
				return 0, err
			}
		} else if ok || len(h.buf) > maxHeader {
			return 0, headerTooLarge
		}
	}
	if len(p) == 0 {
		return n, nil
	}
	_, err := h.w.Write(p)
	return n, err
}

// Close writes what is left of a message without a body.
func (h *heading) Close() error {
	if h.done {
		return nil
	}
	return h.release(len(h.buf))
}

// release writes the block and what was held back; the header is buf[:end].
func (h *heading) release(end int) error {
	h.done = true
	seen := survey(h.buf[:end], h.trace.hostname)
	if seen.received > h.maxHops || seen.own {
		return loops
	}
	h.facts = header.Read(h.buf[:end])
	if !seen.messageID {
		h.facts.MessageID = h.trace.messageID()
	}
	block := h.trace.block(seen)
	if end == 0 && len(h.buf) > 0 && !bytes.HasPrefix(h.buf, crlf) {
		// No header at all: without an empty line the text would become one.
		block = append(block, crlf...)
	}
	if _, err := h.w.Write(block); err != nil {
		return err
	}
	_, err := h.w.Write(h.buf)
	return err
}

// headerEnd finds where the header ends, of which b[:from] was looked through
// before. A first line that is no field means that there is none.
func headerEnd(b []byte, from int) (end int, ok bool) {
	if i := bytes.Index(b, crlf); i >= 0 && !beginsHeader(b[:i]) {
		return 0, true
	}
	if i := bytes.Index(b[from:], blankLine); i >= 0 {
		return from + i + len(blankLine), true
	}
	return 0, false
}

// beginsHeader also takes the first line of an mbox, which some programs leave
// above the header.
func beginsHeader(line []byte) bool {
	name, _ := header.Cut(line)
	return name != nil || bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))
}

// seen is what a header says about itself.
type seen struct {
	date, messageID bool
	received        int
	own             bool // it has passed here before
}

// survey looks through a header; lines that are no fields are passed over.
func survey(h []byte, hostname string) (s seen) {
	anew := false
	for len(h) > 0 {
		var field []byte
		field, h = header.Next(h)
		name, value := header.Cut(field)
		switch {
		case bytes.EqualFold(name, []byte("Date")):
			s.date = true
		case bytes.EqualFold(name, []byte("Message-ID")):
			s.messageID = true
		case bytes.EqualFold(name, []byte("Received")):
			s.received++
			s.own = s.own || !anew && isOwn(value, hostname)
		case len(name) > 7 && bytes.EqualFold(name[:7], []byte("Resent-")):
			// A person sent it again: what is below was another journey (RFC
			// 5322 3.6.6), and no loop does that.
			anew = true
		}
	}
	return s
}

// isOwn knows the trace field of this gateway by its name and the form of its
// IDs.
func isOwn(value []byte, hostname string) bool {
	by, id := false, false
	var before []byte
	for word := range bytes.FieldsSeq(value) {
		switch {
		case bytes.EqualFold(before, []byte("by")):
			by = by || bytes.EqualFold(word, []byte(hostname))
		case bytes.EqualFold(before, []byte("id")):
			_, err := queue.ParseID(string(bytes.TrimRight(word, ";")))
			id = id || err == nil
		}
		before = word
	}
	return by && id
}
