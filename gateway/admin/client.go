package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"syscall"

	"mailroam/queue"
)

// ErrNotRunning says that no gateway answers on the control socket.
var ErrNotRunning = errors.New("the gateway is not running")

// Client speaks to a running gateway. It is a Desk.
type Client struct {
	path string
	http *http.Client
}

// NewClient makes a client for the socket at path; nothing is dialled yet.
func NewClient(path string) *Client {
	c := &Client{path: path}
	c.http = &http.Client{Transport: &http.Transport{
		DialContext:        func(ctx context.Context, _, _ string) (net.Conn, error) { return c.dial(ctx) },
		DisableCompression: true,
	}}
	return c
}

func (c *Client) dial(ctx context.Context) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", c.path)
}

// Ping says whether a gateway answers: ErrNotRunning if none does.
func (c *Client) Ping(ctx context.Context) error {
	conn, err := c.dial(ctx)
	if err != nil {
		return c.unreached(err)
	}
	return conn.Close()
}

// Status asks how the gateway is.
func (c *Client) Status(ctx context.Context) (s Status, err error) {
	err = c.ask(ctx, http.MethodGet, "status", nil, &s)
	return s, err
}

// Apply does verb to what is selected. A selection that neither narrows nor
// says All is refused with ErrNoneMeant.
func (c *Client) Apply(ctx context.Context, verb queue.Verb, s Selection) (a queue.Affected, err error) {
	err = c.ask(ctx, http.MethodPost, "messages/"+url.PathEscape(string(verb)), s.query(), &a)
	return a, err
}

// Messages implements Desk.
func (c *Client) Messages(ctx context.Context, s Selection) iter.Seq2[queue.Message, error] {
	return func(yield func(queue.Message, error) bool) {
		body, err := c.do(ctx, http.MethodGet, "messages", s.query())
		if err != nil {
			yield(queue.Message{}, err)
			return
		}
		defer func() { _ = body.Close() }()
		in := json.NewDecoder(body)
		for {
			var line struct {
				Error *wireError `json:"error"`
				queue.Message
			}
			err := in.Decode(&line)
			switch {
			case errors.Is(err, io.EOF):
				return
			case err != nil:
				yield(queue.Message{}, fmt.Errorf("reading the list: %w", err))
				return
			case line.Error != nil:
				yield(queue.Message{}, fromWire(*line.Error))
				return
			}
			if !yield(line.Message, nil) {
				return
			}
		}
	}
}

// Body implements Desk.
func (c *Client) Body(ctx context.Context, id queue.ID) (io.ReadCloser, error) {
	return c.do(ctx, http.MethodGet, "messages/"+id.String()+"/body", nil)
}

func (c *Client) ask(ctx context.Context, method, what string, query url.Values, into any) error {
	body, err := c.do(ctx, method, what, query)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	if err := json.NewDecoder(body).Decode(into); err != nil {
		return fmt.Errorf("reading the gateway's answer: %w", err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, what string, query url.Values) (io.ReadCloser, error) {
	u := url.URL{Scheme: "http", Host: "mailroam", Path: "/api/v1/" + what, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), nil)
	if err != nil {
		return nil, err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, c.unreached(err)
	}
	if resp.StatusCode == http.StatusOK {
		return resp.Body, nil
	}
	defer func() { _ = resp.Body.Close() }()
	var refused struct {
		Error wireError `json:"error"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, 8<<20)).Decode(&refused); err != nil || refused.Error.Kind == "" {
		return nil, fmt.Errorf("the gateway answered %s", resp.Status)
	}
	return nil, fromWire(refused.Error)
}

// unreached tells a gateway that is not there from one that could not answer.
func (c *Client) unreached(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // without the URL, which means nothing here
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: nobody answers on %s", ErrNotRunning, c.path)
	}
	return fmt.Errorf("asking the gateway on %s: %w", c.path, err)
}
