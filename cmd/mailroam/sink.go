package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"mailroam/gateway/sink"
)

// sinkFlags is the command line of `sink`.
type sinkFlags struct {
	listen, dir, ledger, cert, key string
	implicit                       bool
	faults, users                  []string
}

func (a *app) sinkCommand() *cobra.Command {
	var f sinkFlags
	c := &cobra.Command{
		Use:   "sink",
		Short: "Be one practice upstream, which misbehaves on request",
		Long: `Be one practice upstream: an SMTP server that takes every message, writes it to
a Maildir if asked, and misbehaves as told. It relays nothing. Write its address
into your config as "smtp+insecure://HOST:PORT".

A fault is STAGE[:ADDRESS][#MESSAGES][%CONNECTIONS]=STEP[; STEP…]. Stages are
greeting, ehlo, helo, starttls, tls, auth, mail, rcpt, data, body, dot, rset,
quit; ADDRESS is a recipient's, at rcpt alone. A step is a reply code with or
without text, "delay 5s", or one of slow, take, garbage, flood, hang, close,
reset:

  --fault greeting%1-3=hang                     the first three connections hang
  --fault 'rcpt:bob@example.com=550 no such user'
  --fault 'dot#2=take; close'                   takes the second, never says so`,
		Example: "  mailroam sink --dir practice --fault 'mail#1-3=451 4.3.0 later'",
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return a.sink(c, f)
		},
	}
	fs := c.Flags()
	fs.StringVar(&f.listen, "listen", "127.0.0.1:0", "`address` to listen on; port 0: any free one\n")
	fs.StringVar(&f.dir, "dir", "", "Maildir `folder` to write to")
	fs.StringArrayVar(&f.faults, "fault", nil, "a `fault`, see above; may be repeated: the first that\nfits counts")
	fs.StringVar(&f.ledger, "ledger", "", "append to this `file` when a dot was seen and when it\nwas answered")
	fs.StringVar(&f.cert, "tls-cert", "", "certificate `file` (PEM): STARTTLS is offered")
	fs.StringVar(&f.key, "tls-key", "", "its key `file` (PEM)")
	fs.BoolVar(&f.implicit, "tls-implicit", false, "speak TLS from the first octet, as smtps:// does")
	fs.StringArrayVar(&f.users, "user", nil, "`name:password` that may send; then nobody else may")
	return c
}

func (a *app) sink(c *cobra.Command, f sinkFlags) error {
	o, err := f.options(c)
	if err != nil {
		return err
	}
	if f.ledger != "" {
		file, err := os.OpenFile(f.ledger, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return &failure{code: exCantCreate, what: fmt.Errorf("opening the ledger: %w", err), next: "name another with --ledger"}
		}
		defer func() { _ = file.Close() }()
		o.Ledger = file
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return &failure{code: exUnavailable, what: fmt.Errorf("listening on %s: %w", f.listen, err), next: "take any free port: mailroam sink --listen 127.0.0.1:0"}
	}
	fmt.Fprintf(a.out, "listening on %s\n", l.Addr())
	o.OnMessage = func(m sink.Message) {
		fmt.Fprintf(a.out, "took %s from <%s> for %s\n", octets(m.Size), safe(m.From), safe(strings.Join(m.To, ", ")))
	}
	return sink.New(o).Serve(c.Context(), l)
}

func (f sinkFlags) options(c *cobra.Command) (o sink.Options, err error) {
	o = sink.Options{Dir: f.dir, Implicit: f.implicit}
	for _, text := range f.faults {
		fault, err := sink.ParseFault(text)
		if err != nil {
			return o, usage(c, "%w", err)
		}
		o.Faults = append(o.Faults, fault)
	}
	for _, text := range f.users {
		name, password, ok := strings.Cut(text, ":")
		if !ok || name == "" {
			return o, usage(c, "--user wants name:password")
		}
		if o.Users == nil {
			o.Users = map[string]string{}
		}
		o.Users[name] = password
	}
	if (f.cert == "") != (f.key == "") {
		return o, usage(c, "--tls-cert and --tls-key go together")
	}
	if f.implicit && f.cert == "" {
		return o, usage(c, "--tls-implicit needs --tls-cert and --tls-key")
	}
	if f.cert != "" {
		pair, err := tls.LoadX509KeyPair(f.cert, f.key)
		if errors.Is(err, os.ErrNotExist) {
			return o, &failure{code: exNoInput, what: fmt.Errorf("reading the certificate: %w", err), next: "see: " + c.CommandPath() + " --help"}
		}
		if err != nil {
			return o, &failure{code: exData, what: fmt.Errorf("reading the certificate: %w", err), next: "see: " + c.CommandPath() + " --help"}
		}
		o.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	}
	return o, nil
}
