package bolt

import (
	"context"
	"fmt"

	"mailroam/queue"
)

// partSize is how much of a body one session holds in memory; a longer one is
// staged in parts of this size while it arrives.
const partSize = 1 << 20

type draft struct {
	ses    *session
	ctx    context.Context
	body   body
	staged bool
	done   bool
}

// NewDraft begins a message. ctx also ends its staging.
func (s *session) NewDraft(ctx context.Context, id queue.ID) (queue.Draft, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	return &draft{ses: s, ctx: ctx, body: body{id: id}}, nil
}

func (d *draft) Write(p []byte) (n int, err error) {
	for len(p) > 0 {
		room := partSize - int(d.body.size%partSize)
		if room == partSize && d.body.size > 0 {
			if err := d.stage(); err != nil {
				return n, fmt.Errorf("staging a body: %w", err)
			}
		}
		k, _ := d.body.Write(p[:min(room, len(p))])
		n += k
		p = p[k:]
	}
	return n, nil
}

// stage moves what is held into the file. It is not yet durable as a message,
// only out of memory.
func (d *draft) stage() error {
	d.body.seal()
	d.staged = true
	err := d.ses.write(d.ctx, &request{size: d.body.held(), intake: true, do: func(w *txn) error {
		if err := d.ses.in(w); err != nil {
			return err
		}
		w.putChunks(bStage, &d.body)
		return nil
	}})
	if err == nil {
		d.body.next()
	}
	return err
}

func (d *draft) Commit(ctx context.Context, first string, n queue.NewMessage) (queue.Claim, error) {
	if err := n.Check(); err != nil {
		return queue.Claim{}, err
	}
	if d.done || n.ID != d.body.id {
		return queue.Claim{}, queue.ErrExists
	}
	d.body.seal()
	r := record{Message: n.New(d.body.size)}
	rec := r.encode()
	c := queue.Claim{Message: r.Message, Upstream: first}
	err := d.ses.write(ctx, &request{size: d.body.held() + len(rec), intake: true, do: func(w *txn) error {
		if err := d.ses.in(w); err != nil {
			return err
		}
		if w.get(bEnv, n.ID[:]) != nil || w.get(bPast, n.ID[:]) != nil {
			return queue.ErrExists
		}
		if d.staged {
			w.did("move", bStage, w.bucket(bStage).MoveBucket(n.ID[:], w.bucket(bBody)))
		}
		w.putChunks(bBody, &d.body)
		if first == "" {
			w.file(&r.Message, rec)
			return nil
		}
		w.put(bEnv, n.ID[:], rec)
		f := w.grant(&r.Message, rec, first)
		c.Session, c.Epoch = f.session, f.epoch
		return nil
	}})
	if err != nil {
		return queue.Claim{}, fmt.Errorf("storing a message: %w", err)
	}
	d.done = true
	if first != "" {
		c.State = queue.Leased
	}
	return c, nil
}

// Abort does not wait: the parts are removed by the next commit, and by the
// next start at the latest.
func (d *draft) Abort() {
	if d.done {
		return
	}
	d.done = true
	if !d.staged {
		return
	}
	id := d.body.id
	_ = d.ses.inbox.put(&request{done: make(chan error, 1), do: func(w *txn) error {
		stage := w.bucket(bStage)
		if stage.Bucket(id[:]) == nil {
			return nil
		}
		w.did("delete", bStage, stage.DeleteBucket(id[:]))
		return nil
	}})
}
