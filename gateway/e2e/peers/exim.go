package peers

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"text/template"
	"time"
)

// EximConfig says what one private Exim is to be: an upstream with STARTTLS and
// implicit TLS that takes mail from one user with a password.
type EximConfig struct {
	Binary   string // from UnpackExim
	Dir      string // becomes the instance's own
	Port     int    // STARTTLS
	PortTLS  int    // implicit TLS
	Cert     string
	Key      string
	Username string
	Password string
	Mail     string // folder of the mailboxes, made here
	Domains  []string
	Users    []string // local parts that have a mailbox
	// Main is added to the main settings; the others are ACL statements that are
	// asked before its own.
	Main, MailACL, RcptACL, DataACL string
}

// Exim is a running instance.
type Exim struct {
	*process
	dir string
}

// UnpackExim fetches Debian's exim4-daemon-light, which cannot be installed
// beside Postfix, unpacks it into dir and returns the binary. One that is there
// already, or that EXIM_BIN names, is used as it is.
func UnpackExim(ctx context.Context, dir string) (string, error) {
	if bin := os.Getenv("EXIM_BIN"); bin != "" {
		return bin, nil
	}
	bin := filepath.Join(dir, "usr", "sbin", "exim4")
	if _, err := os.Stat(bin); err != nil {
		if err := fetchExim(ctx, dir); err != nil {
			return "", fmt.Errorf("fetching exim4-daemon-light with apt-get: %w", err)
		}
	}
	if out, err := exec.CommandContext(ctx, "ldd", bin).CombinedOutput(); err != nil || strings.Contains(string(out), "not found") {
		return "", fmt.Errorf("exim lacks a library: %s", out)
	}
	return bin, nil
}

// fetchExim unpacks the package beside dir and then puts it there whole: half of
// one would be taken for an Exim by the next run. Mirrors are asked again, as one
// that does not answer now may do so in a minute.
func fetchExim(ctx context.Context, dir string) error {
	cache := filepath.Dir(dir)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(cache, "exim-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	const script = `set -e
for wait in 5 15 45 0; do
	apt-get -q -o Acquire::Retries=3 download exim4-daemon-light && break
	sleep $wait
done
dpkg -x exim4-daemon-light_*.deb unpacked`
	cmd := exec.CommandContext(ctx, "sh", "-c", script)
	cmd.Dir = tmp
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	return os.Rename(filepath.Join(tmp, "unpacked"), dir)
}

// StartExim runs an Exim in the foreground. Debian's binary wants the user
// Debian-exim to exist, so it gets a mount namespace whose user table has one;
// the machine's own is not touched. The caller must Close it.
func StartExim(ctx context.Context, cfg EximConfig) (*Exim, error) {
	e := &Exim{dir: cfg.Dir}
	if err := e.write(cfg); err != nil {
		return nil, fmt.Errorf("configuring exim: %w", err)
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-ec",
		`mount --bind "$1/passwd" /etc/passwd; mount --bind "$1/group" /etc/group; exec "$2" -C "$1/exim.conf" -bdf`,
		"sh", cfg.Dir, cfg.Binary)
	out, err := os.Create(e.path("stderr"))
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if e.process, err = start(cmd); err != nil {
		return nil, err
	}
	for _, port := range []int{cfg.Port, cfg.PortTLS} {
		if err := e.ready(ctx, nil, fmt.Sprintf("127.0.0.1:%d", port), time.Minute); err != nil {
			return nil, errors.Join(err, e.Close(), errors.New(e.Log()))
		}
	}
	return e, nil
}

// Log is what the instance has said and logged so far.
func (e *Exim) Log() string {
	var b strings.Builder
	for _, name := range []string{"stderr", "log/mainlog", "log/rejectlog", "log/paniclog"} {
		text, _ := os.ReadFile(e.path(name))
		b.Write(text)
	}
	return b.String()
}

// Close ends the instance. Its folder stays.
func (e *Exim) Close() error { return e.close(time.Minute) }

func (e *Exim) path(name string) string { return filepath.Join(e.dir, name) }

func (e *Exim) write(cfg EximConfig) error {
	for _, d := range []string{cfg.Dir, e.path("spool"), e.path("log"), cfg.Mail} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
		if err := os.Chown(d, Nobody, Nobody); err != nil {
			return err
		}
	}
	for file, line := range map[string]string{
		"passwd": fmt.Sprintf("Debian-exim:x:%d:%d::/nonexistent:/usr/sbin/nologin\n", Nobody, Nobody),
		"group":  fmt.Sprintf("Debian-exim:x:%d:\n", Nobody),
	} {
		table, err := os.ReadFile("/etc/" + file)
		if err != nil {
			return err
		}
		if err := os.WriteFile(e.path(file), append(table, line...), 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(e.path("users"), []byte(lines(cfg.Users, ": %s")), 0o644); err != nil {
		return err
	}
	f, err := os.Create(e.path("exim.conf"))
	if err != nil {
		return err
	}
	if err := eximConf.Execute(f, cfg); err != nil {
		return errors.Join(err, f.Close())
	}
	return f.Close()
}

// lines makes a lookup table: a line per name, with the name again in the value.
func lines(names []string, value string) string {
	var b strings.Builder
	for _, n := range names {
		fmt.Fprintf(&b, "%s"+value+"\n", n, n)
	}
	return b.String()
}

var eximConf = template.Must(template.New("exim.conf").Funcs(template.FuncMap{"join": strings.Join}).Parse(`
primary_hostname = exim.test
spool_directory = {{.Dir}}/spool
log_file_path = {{.Dir}}/log/%slog
pid_file_path = {{.Dir}}/log/exim.pid
keep_environment =
local_interfaces = 127.0.0.1
daemon_smtp_ports = {{.Port}} : {{.PortTLS}}
tls_on_connect_ports = {{.PortTLS}}
tls_advertise_hosts = *
tls_certificate = {{.Cert}}
tls_privatekey = {{.Key}}
auth_advertise_hosts = ${if eq{$tls_in_cipher}{}{}{*}}
acl_smtp_mail = mail
acl_smtp_rcpt = rcpt
acl_smtp_data = data
deliver_drop_privilege = true
host_lookup =
message_size_limit = 60M
# By default Exim only queues what comes after the tenth message of a
# connection, until its next queue run.
smtp_accept_queue_per_connection = 0
log_selector = +smtp_protocol_error +smtp_syntax_error +received_recipients +smtp_no_mail
{{.Main}}

begin acl
mail:
{{.MailACL}}
  accept

data:
{{.DataACL}}
  accept

rcpt:
{{.RcptACL}}
  require message = authentication required
    authenticated = *
  deny message = relay not permitted
    !domains = {{join .Domains " : "}}
  require verify = recipient
  accept

begin routers
mailbox:
  driver = accept
  local_parts = lsearch;{{.Dir}}/users
  transport = maildir

begin transports
maildir:
  driver = appendfile
  directory = {{.Mail}}/$local_part_data
  maildir_format
  create_directory
  user = Debian-exim

begin authenticators
plain:
  driver = plaintext
  public_name = PLAIN
  server_prompts = :
  server_condition = ${if and{ {eq{$auth2}{ {{- .Username -}} }} {eq{$auth3}{ {{- .Password -}} }} }}
  server_set_id = $auth2
login:
  driver = plaintext
  public_name = LOGIN
  server_prompts = Username:: : Password::
  server_condition = ${if and{ {eq{$auth1}{ {{- .Username -}} }} {eq{$auth2}{ {{- .Password -}} }} }}
  server_set_id = $auth1
`))
