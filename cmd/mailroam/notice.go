package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net/mail"
	"strings"
)

// readable is what a person wants to see of a message: the lines of its text, or
// all of it where that cannot be found.
func readable(raw []byte) []string {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return lines(raw)
	}
	text := plainText(m.Header.Get("Content-Type"), m.Header.Get("Content-Transfer-Encoding"), m.Body)
	if len(bytes.TrimSpace(text)) == 0 {
		return lines(raw)
	}
	var list []string
	var words mime.WordDecoder
	for _, name := range []string{"From", "To", "Subject", "Date"} {
		value := m.Header.Get(name)
		if decoded, err := words.DecodeHeader(value); err == nil {
			value = decoded
		}
		if value != "" {
			list = append(list, name+": "+value)
		}
	}
	return append(append(list, ""), lines(text)...)
}

// plainText decodes the first part that is for people to read, as far as it is
// there: what is shown of a long message is cut.
func plainText(contentType, encoding string, body io.Reader) []byte {
	kind, params, err := mime.ParseMediaType(contentType)
	switch {
	case contentType == "" || err == nil && kind == "text/plain": // RFC 2045 5.2
	case err == nil && strings.HasPrefix(kind, "multipart/"):
		part, err := multipart.NewReader(body, params["boundary"]).NextRawPart()
		if err != nil {
			return nil
		}
		return plainText(part.Header.Get("Content-Type"), part.Header.Get("Content-Transfer-Encoding"), part)
	default:
		return nil
	}
	switch strings.ToLower(encoding) {
	case "quoted-printable":
		body = quotedprintable.NewReader(body)
	case "base64":
		body = base64.NewDecoder(base64.StdEncoding, body)
	}
	text, _ := io.ReadAll(body)
	return text
}

func lines(text []byte) []string {
	return strings.Split(strings.TrimRight(strings.ReplaceAll(string(text), "\r\n", "\n"), "\n"), "\n")
}
