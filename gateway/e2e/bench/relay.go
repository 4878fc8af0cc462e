//go:build linux

package main

import (
	"context"
	"fmt"
	"net"
	"path/filepath"

	"mailroam/gateway/e2e/peers"
)

// relay is a running mail server under measurement.
type relay struct {
	name  string
	addr  string
	pid   int // its first process; all others descend from it
	close func() error
	// flush is what an administrator runs after an outage; nil if nothing is needed.
	flush func(context.Context) error
}

const (
	ours   = "mailroam"
	theirs = "Postfix"
)

func startMailroam(ctx context.Context, binary, dir, sink string, wrap ...string) (*relay, error) {
	port, err := peers.FreePort()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	config := fmt.Sprintf(`hostname = "mailroam.test"
data_dir = %q

[[listen]]
address = %q

[[upstream]]
name = "sink"
urls = ["smtp+insecure://%s"]
`, filepath.Join(dir, "data"), addr, sink)
	m, err := peers.StartMailroam(ctx, binary, dir, addr, config, wrap...)
	if err != nil {
		return nil, err
	}
	return &relay{name: ours, addr: addr, pid: m.PID(), close: m.Close}, nil
}

func startPostfix(ctx context.Context, dir, sink string, wrap ...string) (*relay, error) {
	port, err := peers.FreePort()
	if err != nil {
		return nil, err
	}
	_, sinkPort, err := net.SplitHostPort(sink)
	if err != nil {
		return nil, err
	}
	p, err := peers.StartPostfix(ctx, peers.PostfixConfig{
		Dir:    dir,
		Main:   map[string]string{"relayhost": "[127.0.0.1]:" + sinkPort},
		Listen: []peers.PostfixListener{{Port: port}},
		Wrap:   wrap,
	})
	if err != nil {
		return nil, err
	}
	return &relay{name: theirs, addr: fmt.Sprintf("127.0.0.1:%d", port), pid: p.PID(), close: p.Close, flush: p.Flush}, nil
}
