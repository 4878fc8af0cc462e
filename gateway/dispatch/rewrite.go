package dispatch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"

	"mailroam/gateway/header"
)

// opener opens a body anew each time.
type opener func(context.Context) (io.ReadCloser, error)

// maxSection bounds the header that is read to change it: what a client may
// send, and what is put above it on its way in.
const maxSection = 256<<10 + 64<<10

var errLargeHeader = errors.New("its header is too large to be changed")

// showing is a body with author as its author, and how many octets it has now:
// MAIL says so before any of it is sent (RFC 1870 6). Its header is read once and
// kept; the rest is read as it is sent. It is the same each time it is opened,
// so that an upstream may know a second copy for one.
func showing(ctx context.Context, author string, body opener, size int64) (opener, int64, error) {
	was, err := section(ctx, body)
	if err != nil {
		return nil, 0, fmt.Errorf("reading the header: %w", err)
	}
	is := header.SetAuthor(was, author)
	skip := int64(len(was))
	return func(ctx context.Context) (io.ReadCloser, error) {
		rest, err := body(ctx)
		if err != nil {
			return nil, err
		}
		if _, err := io.CopyN(io.Discard, rest, skip); err != nil {
			return nil, errors.Join(fmt.Errorf("reading past the header: %w", err), rest.Close())
		}
		return struct {
			io.Reader
			io.Closer
		}{io.MultiReader(bytes.NewReader(is), rest), rest}, nil
	}, size - skip + int64(len(is)), nil
}

// section reads the header of a body, without the empty line behind it.
func section(ctx context.Context, body opener) (head []byte, err error) {
	r, err := body(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for part := make([]byte, 4<<10); ; {
		n, err := r.Read(part)
		from := max(0, len(head)-3)
		head = append(head, part[:n]...)
		if bytes.HasPrefix(head, []byte("\r\n")) {
			return nil, nil
		}
		if i := bytes.Index(head[from:], []byte("\r\n\r\n")); i >= 0 && from+i < maxSection {
			return head[:from+i+len("\r\n")], nil
		}
		switch {
		case len(head) > maxSection:
			return nil, errLargeHeader
		case errors.Is(err, io.EOF): // it is all header
			return head, nil
		case err != nil:
			return nil, err
		}
	}
}
