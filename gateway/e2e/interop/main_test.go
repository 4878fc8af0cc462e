package interop

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"mailroam/gateway/e2e/peers"
)

const (
	hostname = "gw.example.org" // of the gateway, in its Received
	username = "ann"
	password = "correct-horse"
)

// world is what all tests share: the servers, and where their mail lands.
type world struct {
	dir     string
	bin     string // mailroam
	ca      *peers.CA
	postfix *peers.Postfix
	exim    *peers.Exim
	gosmtp  *goSMTP

	ports         ports
	postfixMail   string
	eximMail      string
	nextRecipient int
}

// ports are the listeners, all on loopback.
type ports struct {
	postfixStartTLS, postfixImplicit         int
	postfixOtherStartTLS, postfixOtherImplct int // certificate from a CA nobody trusts
	eximStartTLS, eximImplicit               int
}

// shared is built by TestMain; skip says why it could not be.
var (
	shared *world
	skip   string
)

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	asked := os.Getenv("MAILROAM_INTEROP") != ""
	exim := ""
	if skip = missing(); skip == "" {
		exim, skip = fetchExim(context.Background())
	}
	if skip != "" && asked && os.Getenv("CI") != "" {
		// There a skipped test would pass for a proof.
		fmt.Fprintln(os.Stderr, "interop cannot run:", skip)
		return 1
	}
	if skip != "" {
		return m.Run()
	}
	// Not t.TempDir: the users postfix and nobody must be able to walk through it.
	dir, err := os.MkdirTemp("", "mailroam-interop-")
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	shared, err = build(context.Background(), dir, exim)
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
	}
	code := 1
	if err == nil {
		code = m.Run()
	}
	if err := shared.close(); err != nil {
		fmt.Fprintln(os.Stderr, "interop: closing:", err)
		code = 1
	}
	if code == 0 {
		_ = os.RemoveAll(dir)
	} else {
		fmt.Fprintln(os.Stderr, "interop: logs and mail are in", dir)
	}
	return code
}

// missing says what keeps these tests from running, or "".
func missing() string {
	if os.Getenv("MAILROAM_INTEROP") == "" {
		return "real mail servers are only started by `make interop` (MAILROAM_INTEROP=1)"
	}
	if err := peers.HavePostfix(); err != nil {
		return err.Error()
	}
	var absent []string
	for _, tool := range []string{"saslpasswd2", "unshare", "swaks", "msmtp", "curl", "python3", "s-nail", "mutt"} {
		if _, err := exec.LookPath(tool); err != nil {
			absent = append(absent, tool)
		}
	}
	if len(absent) > 0 {
		return "not installed: " + strings.Join(absent, ", ")
	}
	return ""
}

func needWorld(t *testing.T) *world {
	t.Helper()
	if skip != "" {
		t.Skip(skip)
	}
	return shared
}

// fetchExim returns Exim's binary, or what keeps us from having it.
func fetchExim(ctx context.Context) (binary, skip string) {
	// Beside our own, so that `make clean` removes it too.
	cache, err := filepath.Abs("../../../bin/cache/exim")
	if err == nil {
		binary, err = peers.UnpackExim(ctx, cache)
	}
	if err != nil {
		return "", err.Error()
	}
	return binary, ""
}

func build(ctx context.Context, dir, exim string) (*world, error) {
	w := &world{dir: dir, postfixMail: filepath.Join(dir, "postfix-mail"), eximMail: filepath.Join(dir, "exim-mail")}
	var err error
	if w.bin, err = peers.BuildMailroam(ctx, dir); err != nil {
		return w, err
	}
	for _, p := range []*int{
		&w.ports.postfixStartTLS, &w.ports.postfixImplicit, &w.ports.postfixOtherStartTLS,
		&w.ports.postfixOtherImplct, &w.ports.eximStartTLS, &w.ports.eximImplicit,
	} {
		if *p, err = peers.FreePort(); err != nil {
			return w, err
		}
	}
	if w.ca, err = peers.NewCA(dir, "ca"); err != nil {
		return w, err
	}
	cert, key, err := w.ca.Server("server")
	if err != nil {
		return w, err
	}
	other, err := peers.NewCA(dir, "other-ca")
	if err != nil {
		return w, err
	}
	otherCert, otherKey, err := other.Server("other-server")
	if err != nil {
		return w, err
	}
	if err := w.startPostfix(ctx, cert, key, otherCert, otherKey); err != nil {
		return w, err
	}
	w.exim, err = peers.StartExim(ctx, peers.EximConfig{
		Binary: exim, Dir: filepath.Join(dir, "exim"),
		Port: w.ports.eximStartTLS, PortTLS: w.ports.eximImplicit,
		Cert: cert, Key: key, Username: username, Password: password,
		Mail: w.eximMail, Domains: []string{"example.net", "example.com"}, Users: recipients(),
	})
	if err != nil {
		return w, err
	}
	w.gosmtp, err = startGoSMTP(cert, key)
	return w, err
}

func (w *world) startPostfix(ctx context.Context, cert, key, otherCert, otherKey string) error {
	if err := os.Mkdir(w.postfixMail, 0o755); err != nil {
		return err
	}
	if err := os.Chown(w.postfixMail, peers.Nobody, peers.Nobody); err != nil {
		return err
	}
	var mailboxes strings.Builder
	for _, r := range recipients() {
		fmt.Fprintf(&mailboxes, "%s@example.net %s/\n", r, r)
	}
	table := filepath.Join(w.dir, "postfix-mailboxes")
	if err := os.WriteFile(table, []byte(mailboxes.String()), 0o644); err != nil {
		return err
	}
	startTLS := map[string]string{"smtpd_tls_security_level": "encrypt", "syslog_name": "postfix/starttls"}
	implicit := map[string]string{"smtpd_tls_wrappermode": "yes", "syslog_name": "postfix/implicit"}
	otherSTLS := map[string]string{"smtpd_tls_security_level": "encrypt", "syslog_name": "postfix/other-starttls"}
	otherImpl := map[string]string{"smtpd_tls_wrappermode": "yes", "syslog_name": "postfix/other-implicit"}
	for _, o := range []map[string]string{otherSTLS, otherImpl} {
		o["smtpd_tls_cert_file"], o["smtpd_tls_key_file"] = otherCert, otherKey
	}
	var err error
	w.postfix, err = peers.StartPostfix(ctx, peers.PostfixConfig{
		Dir:   filepath.Join(w.dir, "postfix"),
		Users: map[string]string{username: password},
		Main: map[string]string{
			"virtual_mailbox_domains": "example.net",
			"virtual_mailbox_base":    w.postfixMail,
			"virtual_mailbox_maps":    "texthash:" + table,
			"virtual_uid_maps":        fmt.Sprintf("static:%d", peers.Nobody),
			"virtual_gid_maps":        fmt.Sprintf("static:%d", peers.Nobody),
			"smtpd_tls_cert_file":     cert,
			"smtpd_tls_key_file":      key,
			"smtpd_tls_auth_only":     "yes",
			"smtpd_tls_loglevel":      "1",
			// Only what logged in may send, and only to mailboxes that live here.
			"smtpd_relay_restrictions":     "reject_unauth_destination",
			"smtpd_client_restrictions":    "permit_sasl_authenticated, reject",
			"local_header_rewrite_clients": "",
		},
		Listen: []peers.PostfixListener{
			{Port: w.ports.postfixStartTLS, Options: startTLS},
			{Port: w.ports.postfixImplicit, Options: implicit},
			{Port: w.ports.postfixOtherStartTLS, Options: otherSTLS},
			{Port: w.ports.postfixOtherImplct, Options: otherImpl},
		},
	})
	return err
}

func (w *world) close() error {
	if w == nil {
		return nil
	}
	var errs []error
	if w.gosmtp != nil {
		errs = append(errs, w.gosmtp.Close())
	}
	if w.exim != nil {
		errs = append(errs, w.exim.Close())
	}
	if w.postfix != nil {
		errs = append(errs, w.postfix.Close())
	}
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// recipients are the mailboxes every upstream has: enough that each message of a
// run gets fresh ones, so that a second copy cannot hide behind another message.
func recipients() []string {
	var names []string
	for i := range 600 {
		names = append(names, fmt.Sprintf("r%03d", i))
	}
	return names
}

// fresh takes n recipients nobody has used in this run.
func (w *world) fresh(t *testing.T, n int) []string {
	t.Helper()
	all := recipients()
	if w.nextRecipient+n > len(all) {
		t.Fatal("out of fresh recipients: raise the number in recipients()")
	}
	got := all[w.nextRecipient : w.nextRecipient+n]
	w.nextRecipient += n
	return got
}
