package relay

import (
	"context"
	"time"
)

// Finding is what one step at one address of an endpoint brought.
type Finding struct {
	Endpoint string // host:port, as configured
	Address  string // ip:port; "" for what comes before there is one
	Stage    Stage
	Err      error  // nil: it went well
	Reply    Reply  // of the server, where there is one
	Text     string // what was found: addresses, TLS version and certificate, extensions
	Took     time.Duration
}

// Examine tries every address of every endpoint, all endpoints side by side,
// step by step as far as it gets, with AUTH only when login is set and then
// only once. It calls found from one goroutine at a time and returns when all
// is done or ctx ends.
func (u *Upstream) Examine(ctx context.Context, login bool, found func(Finding)) {}
