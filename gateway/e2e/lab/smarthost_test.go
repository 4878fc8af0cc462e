//go:build linux

package lab

import (
	"context"
	"crypto/tls"

	"mailroam/gateway/e2e/peers"
	"mailroam/gateway/sink"
)

// smartHost is the office's own mail server, a neighbour of the laptop.
const smartHost = "192.168.7.25"

func startSmartHost(ctx context.Context, office *network, ca *peers.CA, mail *inbox) error {
	if err := office.ip("addr add " + smartHost + "/24 dev lan"); err != nil {
		return err
	}
	cert, key, err := ca.Server("smarthost", smartHost)
	if err != nil {
		return err
	}
	identity, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return err
	}
	listener, err := office.listen(smartHost + ":465")
	if err != nil {
		return err
	}
	server := sink.New(sink.Options{
		Name: "smarthost.office.test", Implicit: true, TLS: &tls.Config{Certificates: []tls.Certificate{identity}},
		Users:     map[string]string{username: password},
		OnMessage: func(m sink.Message) { mail.take("lan", "practice", m) },
	})
	go func() { _ = server.Serve(ctx, listener) }()
	return nil
}
