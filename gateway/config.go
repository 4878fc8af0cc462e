package gateway

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"mailroam/gateway/dispatch"
	"mailroam/gateway/relay"
	"mailroam/health"
)

// Config is a whole, checked configuration: every value is set, every path is
// absolute, and what it says can be done. It holds no secret, only where to
// read each one.
type Config struct {
	Path      string // the file it came from
	Hostname  string // for EHLO and Received: a full domain name or an address literal
	DataDir   string
	Listen    []Listen
	Queue     QueueConfig
	Health    HealthConfig
	Alert     AlertConfig
	Log       LogConfig
	Upstreams []UpstreamConfig // in order of preference, never empty

	// Warnings are worth a look but keep nothing from running.
	Warnings []Problem
}

// Listen is one place where mail is accepted.
type Listen struct {
	Address  string         // IP:port; an empty IP means all addresses
	Allow    []netip.Prefix // who may send
	Received string         // "private" or "full"
}

// QueueConfig says how long mail is tried and kept.
type QueueConfig struct {
	Expire                 time.Duration // time online after which undelivered mail bounces
	RetryInitial, RetryMax time.Duration
	MaxMessage             int64 // octets
	Keep                   time.Duration
	Warn                   time.Duration // by the clock, then a delay notice; 0: none
	PolicyHold             time.Duration // online
	// As in dispatch.Policy.
	InDoubt       dispatch.InDoubt
	ContentReject dispatch.ContentReject
	SecondOpinion dispatch.SecondOpinion
	SoftBounce    bool
}

// HealthConfig says how upstreams are probed.
type HealthConfig struct {
	Interval, Timeout time.Duration
	Rise              int           // good probes before mail returns to a preferred upstream
	Hedge             time.Duration // without progress for so long the next upstream is got ready; 0: never
	Failback          health.Failback
}

// AlertConfig says who is told when a person should know.
type AlertConfig struct {
	Command []string      // the program by its whole path or its name alone, then its arguments; nil for none
	Webhook Secret        // a URL, which may hold a token; the zero Secret for none
	Every   time.Duration // at least, between two alerts about the same thing
	Down    time.Duration // without a usable upstream for so long, online, is an alert
}

// LogConfig says how the log is written.
type LogConfig struct {
	Format string // "text" or "json"
	Level  string // "debug", "info", "warn" or "error"
}

// UpstreamConfig is one account at one provider.
type UpstreamConfig struct {
	Name     string
	URLs     []UpstreamURL
	Auth     string // "auto", "plain", "login" or "none"; "none" whenever there is no username
	Username string
	Secret   Secret
	// Senders it may send for, domains in lower case: whole addresses or
	// "@domain". Empty means any.
	Senders     []string
	DefaultFrom string // "" for none
	Recipients  []string
	Rewrite     []dispatch.Rewrite // in the order to be tried
	Limits      LimitsConfig
	Profile     *relay.Profile // nil: no known provider
	Rules       []relay.Rule   // the operator's for this upstream, in order
}

// LimitsConfig is how much an upstream is given; 0: any number.
type LimitsConfig struct {
	Connections                int // at most so many at once
	PerMinute, PerHour, PerDay int // recipients
	Recipients                 int // in one transaction
	Message                    int64
}

// UpstreamURL is one endpoint of an upstream.
type UpstreamURL struct {
	Raw        string // as written; it holds no secret
	Scheme     string // "smtps", "smtp" (STARTTLS required) or "smtp+insecure"
	Host, Port string // the host without brackets
	CAFile     string // "" for the system's roots
	Roots      *x509.CertPool
	ServerName string // whom the certificate must name
}

// Default is what an empty file would mean, had it an upstream.
func Default() Config {
	return Config{
		Hostname: defaultHostname(),
		DataDir:  defaultDataDir(),
		Listen:   []Listen{defaultListen()},
		Queue: QueueConfig{
			Expire:       5 * day,
			RetryInitial: 30 * time.Second,
			RetryMax:     30 * time.Minute,
			MaxMessage:   50 << 20,
			Keep:         7 * day,
			Warn:         4 * time.Hour,
			PolicyHold:   day,
			InDoubt:      dispatch.SameUpstream, ContentReject: dispatch.BounceContent, SecondOpinion: dispatch.Unattributed,
		},
		Health: HealthConfig{Interval: time.Minute, Timeout: 5 * time.Second, Rise: 2, Hedge: 2 * time.Second},
		Alert:  AlertConfig{Every: 15 * time.Minute, Down: 10 * time.Minute},
		Log:    LogConfig{Format: "text", Level: "info"},
	}
}

// FindConfig says which file to read: the one named by the flag, else by
// $MAILROAM_CONFIG, else the user's own, else the system's. The current folder
// is never searched: a stranger's file there could name a command to run.
func FindConfig(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	if path := os.Getenv("MAILROAM_CONFIG"); path != "" {
		return path, nil
	}
	places := []string{"/etc/mailroam/config.toml"}
	if dir := xdgDir("XDG_CONFIG_HOME", ".config"); dir != "" {
		places = append([]string{filepath.Join(dir, "mailroam", "config.toml")}, places...)
	}
	for _, path := range places {
		// A file that is there but cannot be read is still the one meant:
		// Load says what is wrong with it.
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return path, nil
		}
	}
	text := "no config file found: $MAILROAM_CONFIG is not set, and there is no"
	for i, path := range places {
		if i > 0 {
			text += " or"
		}
		text += " " + path
	}
	return "", fmt.Errorf("%s; copy config.toml.example to one of these, or name a file with --config", text)
}

// xdgDir is a folder of the XDG base directory specification, "" when there
// is none. A relative value is ignored, as that specification asks.
func xdgDir(env, below string) string {
	if dir := os.Getenv(env); filepath.IsAbs(dir) {
		return dir
	}
	if home, err := os.UserHomeDir(); err == nil && filepath.IsAbs(home) {
		return filepath.Join(home, below)
	}
	return ""
}

// defaultDataDir is "" for a user without a home.
func defaultDataDir() string {
	if os.Geteuid() == 0 {
		return "/var/lib/mailroam"
	}
	if dir := xdgDir("XDG_STATE_HOME", filepath.Join(".local", "state")); dir != "" {
		return filepath.Join(dir, "mailroam")
	}
	return ""
}

// maxConfigSize is far above any sensible file; it keeps a wrong --config
// (a device, a mailbox) from filling the memory.
const maxConfigSize = 1 << 20

// Load reads and checks the file. When something in it is wrong the error is
// Problems, and holds all of them.
func Load(path string) (*Config, error) {
	text, mode, err := readSmall(path, maxConfigSize)
	if err != nil {
		return nil, fmt.Errorf("reading the config: %w", err)
	}
	return parse(path, text, mode)
}

// Parse checks text as if it had been read from path, against whose folder
// relative paths are resolved. Files that it names are looked at, nothing is
// run. The error is Problems.
func Parse(path string, text []byte) (*Config, error) {
	return parse(path, text, 0o600)
}

func parse(path string, text []byte, mode fs.FileMode) (*Config, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("finding the config's folder: %w", err)
	}
	c := Default()
	c.Path = path
	d := &decoder{path: path, dir: filepath.Dir(path), mode: mode, config: &c}

	// Editors on Windows begin files with a byte order mark.
	root := d.tree(bytes.TrimPrefix(text, []byte("\xef\xbb\xbf")))
	if root == nil {
		return nil, d.problems
	}
	if d.profiles, err = relay.Profiles(); err != nil {
		return nil, err
	}
	d.table(root, "", d.schema())
	d.check(root)
	if len(d.problems) > 0 {
		d.problems.sort()
		return nil, d.problems
	}
	return &c, nil
}

// readSmall reads a regular file of at most max octets. Other kinds are
// refused, for they may block or never end.
func readSmall(path string, max int64) ([]byte, fs.FileMode, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, 0, err
	}
	if !info.Mode().IsRegular() {
		return nil, 0, &fs.PathError{Op: "read", Path: path, Err: errors.New("not a regular file")}
	}
	if info.Size() > max {
		return nil, 0, &fs.PathError{Op: "read", Path: path, Err: fmt.Errorf("larger than %d octets", max)}
	}
	text, err := os.ReadFile(path)
	return text, info.Mode(), err
}
