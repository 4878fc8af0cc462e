package alert

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"mailroam/queue"
)

const (
	postLimit = 10 * time.Second
	postAgain = time.Minute // after a failure, unless the network changes before
	postWaits = time.Hour   // then nobody needs to hear of it any more
)

// newClient makes connections that are not kept: the next alert may come in
// another network. It follows no redirect, for the alert and the URL's token
// are for the server that was named.
func newClient(t http.RoundTripper) *http.Client {
	if t == nil {
		t = &http.Transport{Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}
	}
	return &http.Client{
		Transport: t, Timeout: postLimit,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// refusal is an answer that a later try would not change.
type refusal struct{ status int }

func (r refusal) Error() string {
	if r.status/100 == 3 {
		return fmt.Sprintf("it answers %d and sends us elsewhere; write the address that it leads to", r.status)
	}
	return fmt.Sprintf("it answers %d %s", r.status, http.StatusText(r.status))
}

// post gives each event to the webhook, and tries again what fails while there
// is hope.
func (a *Alerter) post(ctx context.Context) {
	failing := false
	for {
		l := a.posts.first()
		if l == nil {
			select {
			case <-ctx.Done():
				return
			case <-a.posts.ready:
			}
			continue
		}
		err := a.send(ctx, l.Event)
		if ctx.Err() != nil {
			return
		}
		if err != nil && !failing {
			a.opts.Log.Warn("alert", "text", "the alert webhook cannot be told: "+queue.Printable(a.opts.Words(err), 500))
		}
		failing = err != nil
		_, refused := errors.AsType[refusal](err)
		if err == nil || refused {
			a.posts.done(l)
			continue
		}
		if time.Now().Round(0).Sub(l.at) >= postWaits {
			a.posts.done(l)
			a.opts.Log.Warn("alert", "text", "the alert webhook could not be told for an hour: an alert is given up", "event", l.Kind, "upstream", l.Upstream)
			continue
		}
		timer := time.NewTimer(postAgain)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-a.again:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// send gives the event to the webhook once. Its errors hold nothing of the URL
// but the host.
func (a *Alerter) send(ctx context.Context, e Event) error {
	s := a.current()
	if s.Webhook == nil { // the config changed
		return nil
	}
	address, err := s.Webhook(ctx)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(a.payload(e)))
	if err != nil {
		return errors.New("its URL cannot be used")
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "mailroam/"+a.opts.Version)
	resp, err := a.client.Do(req)
	if err != nil {
		if outer, ok := errors.AsType[*url.Error](err); ok { // its text begins with the URL
			err = outer.Err
		}
		return err
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10)
	switch code := resp.StatusCode; {
	case code/100 == 2:
		return nil
	case code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout:
		return fmt.Errorf("it answers %d %s", code, http.StatusText(code))
	default:
		return refusal{code}
	}
}
