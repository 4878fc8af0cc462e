package interop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"sync"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// goSMTP is an upstream on the same library as the gateway's front door: cheap,
// strict, and read back without a mailbox in between.
type goSMTP struct {
	server *smtp.Server
	addr   *net.TCPAddr

	mu   sync.Mutex
	mail map[string][][]byte // by local part
}

func startGoSMTP(certFile, keyFile string) (*goSMTP, error) {
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	g := &goSMTP{addr: l.Addr().(*net.TCPAddr), mail: make(map[string][][]byte)}
	g.server = smtp.NewServer(g)
	g.server.Domain = "gosmtp.test"
	g.server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}}
	go func() { _ = g.server.Serve(l) }()
	return g, nil
}

func (g *goSMTP) Close() error { return g.server.Close() }

func (g *goSMTP) mailbox(name string) ([][]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.mail[name], nil
}

func (g *goSMTP) NewSession(*smtp.Conn) (smtp.Session, error) { return &goSMTPSession{g: g}, nil }

type goSMTPSession struct {
	g    *goSMTP
	user string
	to   []string
}

func (s *goSMTPSession) AuthMechanisms() []string { return []string{sasl.Plain} }

func (s *goSMTPSession) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, user, pass string) error {
		if user != username || pass != password {
			return errors.New("wrong password")
		}
		s.user = user
		return nil
	}), nil
}

func (s *goSMTPSession) Mail(string, *smtp.MailOptions) error {
	if s.user == "" {
		return smtp.ErrAuthRequired
	}
	return nil
}

func (s *goSMTPSession) Rcpt(to string, _ *smtp.RcptOptions) error {
	local, _, _ := strings.Cut(to, "@")
	s.to = append(s.to, local)
	return nil
}

func (s *goSMTPSession) Data(r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	s.g.mu.Lock()
	defer s.g.mu.Unlock()
	for _, name := range s.to {
		s.g.mail[name] = append(s.g.mail[name], b)
	}
	return nil
}

func (s *goSMTPSession) Reset() { s.to = nil }

func (s *goSMTPSession) Logout() error { return nil }
