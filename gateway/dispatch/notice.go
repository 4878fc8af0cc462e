package dispatch

import (
	"bufio"
	"context"
	"io"
	"slices"

	"mailroam/gateway/dsn"
	"mailroam/queue"
)

func needsNotice(o queue.Outcome) bool {
	for _, r := range o.Rcpts {
		if r.State == queue.Failed || r.State == queue.Expired {
			return true
		}
	}
	return false
}

// notice adds to an outcome the failure notices for the recipients it ends.
func (p Policy) notice(m *queue.Message, o *queue.Outcome, hostname string, header []byte, now Now) {
	if m.ReversePath == "" {
		return
	}
	var about []queue.Recipient
	for _, r := range o.Rcpts {
		if r.State == queue.Failed || r.State == queue.Expired {
			about = append(about, queue.Recipient{Address: m.Recipients[r.Index].Address, State: r.State, Last: r.Last})
		}
	}
	for lot := range slices.Chunk(about, dsn.MaxRecipients) {
		o.Spawn = append(o.Spawn, p.failure(dsn.Report{Hostname: hostname, Message: *m, Kind: dsn.Failed, About: lot, Header: header, Now: now.Time}, now))
	}
}

// failure is one notice, filed.
func (p Policy) failure(r dsn.Report, now Now) queue.NewMessage {
	n := dsn.New(r)
	n.Online = now.Online
	if f, ok := p.File(&queue.Message{Accepted: now.Time, Online: now.Online}, nil, now.Time, now); ok {
		n.Filing = f
	}
	return n
}

// Notice makes the failure notice for mail that a person fails. It reads
// nothing, since it is called inside the store's transaction, so the notice
// goes without the message's header, and one tells of all recipients.
func (d *Dispatcher) Notice(m queue.Message) *queue.NewMessage {
	now := d.now()
	r := dsn.Report{Kind: dsn.Failed, Hostname: d.Hostname, Message: m, Now: now.Time}
	given := queue.Answer{Text: "given up by the operator of the mail gateway", At: now.Time}
	for _, i := range m.Pending() { // they are about to fail (queue.Op)
		rc := m.Recipients[i]
		r.About = append(r.About, queue.Recipient{Address: rc.Address, State: queue.Failed, Last: doubted(rc, given)})
	}
	if m.ReversePath == "" || len(r.About) == 0 {
		return nil
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	n := d.config.failure(r, now)
	d.filed(n.Lane)
	return &n
}

// header reads the header section for a notice.
func (d *Dispatcher) header(ctx context.Context, id queue.ID) []byte {
	body, err := d.Store.OpenBody(ctx, id)
	if err != nil {
		return nil // a notice without it is still a notice
	}
	defer body.Close()
	var head []byte
	for r := bufio.NewReader(io.LimitReader(body, 64<<10)); ; {
		line, err := r.ReadSlice('\n')
		if err != nil || len(line) <= 2 {
			return head
		}
		head = append(head, line...)
	}
}
