package msa

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// What programs say of DSN and SMTPUTF8 when they are offered it.
func TestPrograms(t *testing.T) {
	const smtplib = `
import smtplib, sys
from email.message import EmailMessage
with smtplib.SMTP("127.0.0.1", int(sys.argv[1]), local_hostname="client.example", timeout=30) as s:
    m = EmailMessage()
    m["From"], m["To"], m["Subject"] = "Jörg <jörg@müller.example>", "bob@example.net, 用户@例え.example", "grüße"
    m.set_content("hi")
    if s.send_message(m, mail_options=["RET=HDRS", "ENVID=QQ314159"], rcpt_options=["NOTIFY=SUCCESS,DELAY"]): sys.exit("refused")
`
	eml := filepath.Join(t.TempDir(), "eml")
	if err := os.WriteFile(eml, []byte("From: ann@example.com\r\nSubject: x\r\n\r\nhi\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		program string
		args    func(port string) []string
		want    string
	}{
		{
			"python3", func(port string) []string { return []string{"-c", smtplib, port} },
			"jörg@müller.example [bob@example.net SUCCESS,DELAY  用户@例え.example SUCCESS,DELAY ] full=false QQ314159 utf8=true [jörg@müller.example]",
		},
		{
			"curl", func(port string) []string {
				return []string{
					"--silent", "--show-error", "--noproxy", "*", "--url", "smtp://127.0.0.1:" + port + "/client.example", "--upload-file", eml,
					"--mail-from", "ann@example.com", "--mail-rcpt", "jörg@example.net",
				}
			},
			"ann@example.com [jörg@example.net  ] full=false  utf8=true [ann@example.com]",
		},
		{
			"msmtp", func(port string) []string {
				return []string{
					"--file=/dev/null", "--host=127.0.0.1", "--port=" + port, "--auth=off", "--tls=off", "--from=ann@example.com",
					"--dsn-notify=failure,delay", "--dsn-return=full", "--", "bob@example.net",
				}
			},
			"ann@example.com [bob@example.net FAILURE,DELAY ] full=true  utf8=false [ann@example.com]",
		},
		{
			"swaks", func(port string) []string {
				return []string{
					"--server", "127.0.0.1", "--port", port, "--helo", "client.example", "--data", "@" + eml, "--suppress-data",
					"--from", "ann@example.com", "--to", "bob@example.net",
				}
			},
			"ann@example.com [bob@example.net  ] full=false  utf8=false [ann@example.com]",
		},
	}
	for _, tt := range tests {
		t.Run(tt.program, func(t *testing.T) {
			path, err := exec.LookPath(tt.program)
			if err != nil {
				t.Skip(err)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			r := &rig{t: t, box: &box{}, log: &logBuffer{}}
			r.serve(l, nil)
			_, port, _ := net.SplitHostPort(l.Addr().String())
			stdin, err := os.Open(eml)
			if err != nil {
				t.Fatal(err)
			}
			defer stdin.Close()
			cmd := exec.CommandContext(t.Context(), path, tt.args(port)...)
			cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
			cmd.Stdin = stdin
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s\n%s", err, out, r.log)
			}
			m := r.one()
			var to []string
			for _, a := range m.Recipients {
				to = append(to, strings.Join([]string{a.Address, a.Notify.String(), a.ORcpt}, " "))
			}
			if got := fmt.Sprintf("%s %s full=%t %s utf8=%t %s", m.ReversePath, to, m.Return.Full, m.Return.EnvID, m.UTF8, m.Authors); got != tt.want {
				t.Errorf("stored\n%s, want\n%s", got, tt.want)
			}
		})
	}
}
