package interop

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emersion/go-smtp"
)

// client is a program that submits mail.
type client struct {
	name string
	// composes: it writes header and encoding itself, so what it is given is not
	// what it sends, and it cannot send every message.
	composes bool
	send     func(t *testing.T, port string, m message, to []string) error
}

func clients() []client {
	return []client{
		{name: "swaks", send: func(t *testing.T, port string, m message, to []string) error {
			return swaks(t, port, m, to)
		}},
		{name: "swaks-pipelining", send: func(t *testing.T, port string, m message, to []string) error {
			return swaks(t, port, m, to, "--pipeline")
		}},
		{name: "msmtp", send: msmtp},
		{name: "curl", send: curl},
		{name: "smtplib", send: smtplib},
		{name: "go-smtp", send: goSMTPClient},
		{name: "s-nail", composes: true, send: snail},
		{name: "mutt", composes: true, send: mutt},
	}
}

// tool runs a program on a message and gives what it said as the error.
func tool(t *testing.T, stdin []byte, name string, args ...string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	// No configuration of the person who runs the tests.
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8", "LANG=C.UTF-8"}
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return nil
}

func file(t *testing.T, name string, content []byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func lf(b []byte) []byte { return bytes.ReplaceAll(b, []byte("\r\n"), []byte("\n")) }

func swaks(t *testing.T, port string, m message, to []string, more ...string) error {
	from := m.from
	if from == "" {
		from = "<>"
	}
	args := append([]string{
		"--server", "127.0.0.1", "--port", port, "--helo", "client.example", "--from", from,
		"--to", strings.Join(to, ","), "--data", "@" + file(t, "data", lf(m.data())), "--suppress-data",
	}, more...)
	return tool(t, nil, "swaks", args...)
}

func msmtp(t *testing.T, port string, m message, to []string) error {
	from := m.from
	if from == "" {
		from = "<>"
	}
	args := append([]string{
		"--file=" + file(t, "rc", nil), "--host=127.0.0.1", "--port=" + port, "--auth=off", "--tls=off",
		"--set-date-header=off", "--set-msgid-header=off", "--undisclosed-recipients=off", "--from=" + from, "--",
	}, to...)
	return tool(t, lf(m.data()), "msmtp", args...)
}

func curl(t *testing.T, port string, m message, to []string) error {
	args := []string{
		"--silent", "--show-error", "--url", "smtp://127.0.0.1:" + port + "/client.example",
		"--mail-from", m.from, "--upload-file", file(t, "data", m.data()),
	}
	for _, r := range to {
		args = append(args, "--mail-rcpt", r)
	}
	return tool(t, nil, "curl", args...)
}

func smtplib(t *testing.T, port string, m message, to []string) error {
	const script = `
import smtplib, sys
port, sender, data, rcpts = sys.argv[1], sys.argv[2], open(sys.argv[3], "rb").read(), sys.argv[4:]
with smtplib.SMTP("127.0.0.1", int(port), local_hostname="client.example", timeout=30) as s:
    refused = s.sendmail(sender, rcpts, data)
    if refused: sys.exit("refused: %r" % refused)
`
	args := append([]string{"-c", script, port, m.from, file(t, "data", m.data())}, to...)
	return tool(t, nil, "python3", args...)
}

func goSMTPClient(_ *testing.T, port string, m message, to []string) error {
	c, err := smtp.Dial("127.0.0.1:" + port)
	if err != nil {
		return err
	}
	defer c.Close()
	if err := c.SendMail(m.from, to, bytes.NewReader(m.data())); err != nil {
		return err
	}
	return c.Quit()
}

func snail(t *testing.T, port string, m message, to []string) error {
	args := []string{
		"-:/", "-Sv15-compat", "-Smta=smtp://127.0.0.1:" + port, "-Ssmtp-auth=none", "-Ssmtp-config=-all,ehlo,8bitmime",
		"-Ssmtp-hostname=client.example", "-Shostname=client.example", "-Ssendwait", "-Sttycharset=utf-8",
		"-Smime-encoding=8b", "-Sfrom=" + m.from, "-s", m.name,
	}
	body := lf([]byte(m.body))
	if len(body) > 1<<18 {
		args, body = append(args, "-a", file(t, "attachment.bin", body)), []byte("see the attachment\n")
	}
	return tool(t, body, "s-nail", append(args, to...)...)
}

func mutt(t *testing.T, port string, m message, to []string) error {
	rc := file(t, "muttrc", []byte(`
set smtp_url = "smtp://127.0.0.1:`+port+`"
set ssl_starttls = no
set ssl_force_tls = no
set from = "`+m.from+`"
set use_envelope_from = yes
set hostname = "client.example"
set copy = no
set allow_8bit = yes
set send_charset = "us-ascii:utf-8"
`))
	args := []string{"-n", "-F", rc, "-s", m.name}
	body := lf([]byte(m.body))
	if len(body) > 1<<18 {
		args, body = append(args, "-a", file(t, "attachment.bin", body)), []byte("see the attachment\n")
	}
	return tool(t, body, "mutt", append(append(args, "--"), to...)...)
}
