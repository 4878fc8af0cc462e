package admin

import (
	"context"
	"io"
	"iter"

	"mailroam/queue"
)

// Desk is what can be read from a queue, through a running gateway or not.
type Desk interface {
	// Messages gives what is selected, newest first; with whole or partial IDs
	// in any state, else only unfinished mail unless s.States says otherwise.
	Messages(ctx context.Context, s Selection) iter.Seq2[queue.Message, error]
	// Body gives the stored octets of a message; the caller closes it.
	Body(ctx context.Context, id queue.ID) (io.ReadCloser, error)
}

// Direct is the Desk of a store that this process has open.
type Direct struct{ Store queue.Store }

// Messages implements Desk.
func (d Direct) Messages(ctx context.Context, s Selection) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		f, err := resolve(ctx, d.Store, s)
		if err != nil {
			yield(queue.Message{}, err)
			return
		}
		for m, err := range d.Store.List(ctx, f) {
			if !yield(m, err) || err != nil {
				return
			}
		}
	}
}

// Body implements Desk.
func (d Direct) Body(ctx context.Context, id queue.ID) (io.ReadCloser, error) {
	return d.Store.OpenBody(ctx, id)
}
