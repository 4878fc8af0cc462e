package peers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// PostfixConfig says what one private Postfix instance is to be.
type PostfixConfig struct {
	// Dir is empty or absent and becomes the instance's own. Every folder above
	// it must be searchable by the user postfix.
	Dir string
	// Main is added to main.cf, over what Start writes itself.
	Main map[string]string
	// Users may log in by SASL, name to password.
	Users map[string]string
	// Listen are the smtpd services. The master opens them in this order, so Start
	// waits for the last.
	Listen []PostfixListener
	// Wrap is a command that runs the master, such as strace; none by default.
	Wrap []string
	// Dial reaches the listeners when Wrap puts the master into a network
	// namespace; by default they are dialled from here.
	Dial Dial
}

// PostfixListener is one smtpd line of master.cf.
type PostfixListener struct {
	Host    string // an IP address, [in brackets] when it is one of IPv6; default 127.0.0.1
	Port    int
	Options map[string]string // the -o overrides
}

func (l PostfixListener) addr() string {
	return fmt.Sprintf("%s:%d", cmp.Or(l.Host, "127.0.0.1"), l.Port)
}

// Postfix is a running instance.
type Postfix struct {
	*process
	dir string
}

// HavePostfix says why a private Postfix cannot run here, or nil.
func HavePostfix() error {
	if os.Geteuid() != 0 {
		return errors.New("postfix needs root: its daemons change to users of their own")
	}
	if _, err := exec.LookPath("postfix"); err != nil {
		return errors.New("postfix is not installed (apt-get install postfix)")
	}
	return nil
}

// StartPostfix writes the instance's configuration and runs its master in the
// foreground. The caller must Close it.
func StartPostfix(ctx context.Context, cfg PostfixConfig) (*Postfix, error) {
	p := &Postfix{dir: cfg.Dir}
	daemons, err := exec.CommandContext(ctx, "postconf", "-xh", "daemon_directory").Output()
	if err != nil {
		return nil, fmt.Errorf("asking postfix for its daemons: %w", err)
	}
	daemonDir := strings.TrimSpace(string(daemons))
	if err := p.write(cfg, daemonDir); err != nil {
		return nil, fmt.Errorf("configuring postfix: %w", err)
	}
	// Creates the queue's folders with their owners.
	if out, err := exec.CommandContext(ctx, "postfix", "-c", p.configDir(), "check").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("postfix check: %w: %s", err, out)
	}
	args := slices.Concat(cfg.Wrap, []string{filepath.Join(daemonDir, "master"), "-c", p.configDir(), "-s"})
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	if p.process, err = start(cmd); err != nil {
		return nil, err
	}
	if err := p.ready(ctx, cfg.Dial, cfg.Listen[len(cfg.Listen)-1].addr(), time.Minute); err != nil {
		return nil, errors.Join(err, p.Close(), errors.New(p.Log()))
	}
	return p, nil
}

func (p *Postfix) configDir() string { return filepath.Join(p.dir, "etc") }
func (p *Postfix) logFile() string   { return filepath.Join(p.dir, "maillog") }

// Log is what the instance has logged so far.
func (p *Postfix) Log() string {
	b, _ := os.ReadFile(p.logFile())
	return string(b)
}

// Flush asks for every deferred message at once, as an administrator would.
func (p *Postfix) Flush(ctx context.Context) error {
	if out, err := exec.CommandContext(ctx, "postqueue", "-c", p.configDir(), "-f").CombinedOutput(); err != nil {
		return fmt.Errorf("postqueue -f: %w: %s", err, out)
	}
	return nil
}

// Close ends the instance. Its folder stays.
func (p *Postfix) Close() error { return p.close(time.Minute) }

func (p *Postfix) write(cfg PostfixConfig, daemonDir string) error {
	for _, d := range []string{p.dir, p.configDir(), p.path("spool")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(p.path("data"), 0o700); err != nil {
		return err
	}
	owner, err := user.Lookup("postfix")
	if err != nil {
		return err
	}
	uid, err := strconv.Atoi(owner.Uid)
	if err != nil {
		return err
	}
	if err := os.Chown(p.path("data"), uid, -1); err != nil {
		return err
	}
	main := map[string]string{
		"compatibility_level":   "3.6",
		"queue_directory":       p.path("spool"),
		"data_directory":        p.path("data"),
		"daemon_directory":      daemonDir,
		"maillog_file":          p.logFile(),
		"maillog_file_prefixes": p.dir,
		"myhostname":            "postfix.test",
		"inet_interfaces":       "127.0.0.1",
		"inet_protocols":        "ipv4",
		"mynetworks":            "127.0.0.0/8",
		"mydestination":         "",
		"local_recipient_maps":  "",
		"alias_maps":            "",
		"alias_database":        "",
	}
	if len(cfg.Users) > 0 {
		if err := p.writeUsers(cfg.Users, uid); err != nil {
			return err
		}
		main["smtpd_sasl_auth_enable"] = "yes"
		main["smtpd_sasl_local_domain"] = saslRealm
	}
	maps.Copy(main, cfg.Main)
	if err := os.WriteFile(filepath.Join(p.configDir(), "main.cf"), []byte(mainCf(main)), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(p.configDir(), "master.cf"), []byte(masterCf(cfg.Listen)), 0o644)
}

// saslRealm is the part after the @ that Cyrus SASL keeps its users under.
const saslRealm = "postfix.test"

// writeUsers keeps the passwords in a Cyrus SASL database, which needs no
// daemon beside Postfix. Debian's Postfix looks for its SASL configuration in
// the folder sasl beside main.cf, whatever cyrus_sasl_config_path says.
func (p *Postfix) writeUsers(users map[string]string, owner int) error {
	dir := filepath.Join(p.configDir(), "sasl")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	db := filepath.Join(dir, "users.db")
	conf := "pwcheck_method: auxprop\nauxprop_plugin: sasldb\nmech_list: PLAIN LOGIN\nsasldb_path: " + db + "\n"
	if err := os.WriteFile(filepath.Join(dir, "smtpd.conf"), []byte(conf), 0o644); err != nil {
		return err
	}
	for name, password := range users {
		cmd := exec.Command("saslpasswd2", "-p", "-c", "-f", db, "-u", saslRealm, name)
		cmd.Stdin = strings.NewReader(password)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("saslpasswd2: %w: %s", err, out)
		}
	}
	return os.Chown(db, owner, -1)
}

func (p *Postfix) path(name string) string { return filepath.Join(p.dir, name) }

func mainCf(settings map[string]string) string {
	var b strings.Builder
	for _, k := range slices.Sorted(maps.Keys(settings)) {
		fmt.Fprintf(&b, "%s = %s\n", k, settings[k])
	}
	return b.String()
}

// masterCf is the upstream default of every service a relay uses, without
// chroot; only the listeners differ.
func masterCf(listen []PostfixListener) string {
	var b strings.Builder
	for _, l := range listen {
		fmt.Fprintf(&b, "%s inet n - n - - smtpd\n", l.addr())
		for _, k := range slices.Sorted(maps.Keys(l.Options)) {
			fmt.Fprintf(&b, "  -o { %s = %s }\n", k, l.Options[k])
		}
	}
	b.WriteString(`pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
local unix - n n - - local
virtual unix - n n - - virtual
lmtp unix - - n - - lmtp
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
`)
	return b.String()
}
