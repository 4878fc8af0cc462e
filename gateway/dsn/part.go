package dsn

import (
	"bytes"
	"mime/quotedprintable"
	"unicode/utf8"
)

// part is one of the parts of a notice, as it is sent.
type part struct {
	kind     string
	encoding string
	body     []byte
}

// maxLine is how long a line may be, without its end (RFC 5322 2.1.1).
const maxLine = 998

// encode sends text as it is where that is possible, else as quoted-printable.
func (r Report) encode(kind string, text []byte) part {
	if p, ok := r.plain(kind, text); ok {
		return p
	}
	return quoted(kind, text)
}

// plain sends text as it is; false where it has lines or octets that do not pass.
func (r Report) plain(kind string, text []byte) (part, bool) {
	encoding := "7bit"
	for l := range bytes.Lines(text) {
		l, whole := bytes.CutSuffix(l, []byte("\r\n"))
		if !whole || len(l) > maxLine || bytes.ContainsAny(l, "\r\x00") {
			return part{}, false
		}
		if !ascii(string(l)) {
			encoding = "8bit"
		}
	}
	return part{kind, encoding, text}, encoding == "7bit" || r.EightBit
}

// quoted takes lines ending in LF or CRLF; what was in them cannot end a part,
// since no line of it can begin with "--=_" and the sum of itself.
func quoted(kind string, text []byte) part {
	var b bytes.Buffer
	w := quotedprintable.NewWriter(&b)
	_, _ = w.Write(bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n"))) // a bytes.Buffer takes all
	_ = w.Close()
	body := bytes.ReplaceAll(bytes.ReplaceAll(b.Bytes(), []byte("\r\n"), []byte("\n")), []byte("\n"), []byte("\r\n"))
	return part{kind, "quoted-printable", body}
}

// returned is what goes back of the message: all of it where its sender asked
// for that and there is room, else its header (RFC 3461 4.3).
func (r Report) returned(room int) part {
	if r.Body != nil {
		if p, ok := r.whole(); ok && len(p.body) <= room {
			return p
		}
	}
	header := cut(r.Header, maxHeader)
	if len(header) == 0 {
		return part{}
	}
	kind := "text/rfc822-headers"
	if r.Message.UTF8 && utf8.Valid(header) { // RFC 6533 5
		kind = "message/global-headers"
	}
	p := r.encode(kind, header)
	if len(p.body) > room {
		return part{}
	}
	return p
}

// whole is all of the message. A message/rfc822 must not be encoded (RFC 2046
// 5.2.1); a message/global may be (RFC 6532 3.7).
func (r Report) whole() (part, bool) {
	if r.Message.UTF8 {
		return r.encode("message/global", r.Body), true
	}
	return r.plain("message/rfc822", r.Body)
}

// cut keeps whole lines.
func cut(b []byte, max int) []byte {
	if len(b) <= max {
		return b
	}
	return b[:bytes.LastIndexByte(b[:max], '\n')+1]
}
