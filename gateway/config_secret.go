package gateway

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"time"
)

// Secret says where a password comes from. However it is printed, it gives
// ***. Its zero value is no secret.
type Secret struct {
	source  source
	value   string   // the password, its file or its variable
	command []string // with dir as its folder
	dir     string
}

type source string

const (
	fromConfig  source = "password"
	fromFile    source = "password_file"
	fromEnv     source = "password_env"
	fromCommand source = "password_command"
)

// IsZero says that no secret was given.
func (s Secret) IsZero() bool { return s.source == "" }

const (
	commandLimit  = 10 * time.Second
	maxSecretSize = 64 << 10
)

// Read gets the password, anew each time: it is for the moment of a login. A
// password is the first line of what a file, variable or command gives, so
// that the usual keepers of passwords can be used as they are. Commands have
// 10 seconds and no input. An error names the key: the upstream has nothing to do
// with it.
func (s Secret) Read(ctx context.Context) (string, error) {
	if s.IsZero() {
		return "", errors.New("none is configured")
	}
	text, err := s.fetch(ctx)
	if err != nil {
		return "", fmt.Errorf("%s: %w", s.source, err)
	}
	line, _, _ := strings.Cut(text, "\n")
	line = strings.TrimSuffix(line, "\r")
	switch {
	case line == "":
		return "", fmt.Errorf("%s: it is empty", s.source)
	case strings.ContainsRune(line, 0): // RFC 4616 2: NUL ends a field
		return "", fmt.Errorf("%s: it holds a NUL", s.source)
	}
	return line, nil
}

func (s Secret) fetch(ctx context.Context) (string, error) {
	switch s.source {
	case fromConfig:
		return s.value, nil
	case fromFile:
		text, mode, err := readSmall(s.value, maxSecretSize)
		if err != nil {
			return "", errors.New(reason(err))
		}
		if readableBy(mode, 0o007) {
			return "", fmt.Errorf("%s can be read by everybody: run chmod 600 %[1]s", s.value)
		}
		return string(text), nil
	case fromEnv:
		text, ok := os.LookupEnv(s.value)
		if !ok {
			return "", fmt.Errorf("the environment has no %s", s.value)
		}
		return text, nil
	default:
		return s.run(ctx)
	}
}

func (s Secret) run(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, commandLimit, fmt.Errorf("no answer within %s", commandLimit))
	defer cancel()
	cmd := exec.CommandContext(ctx, s.command[0], s.command[1:]...)
	cmd.Dir = s.dir
	// A child that lives on with our pipes must not keep us.
	cmd.WaitDelay = time.Second
	var out, trouble bounded
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := cmd.Run(); err != nil && !(errors.Is(err, exec.ErrWaitDelay) && out.text.Len() > 0) {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		said, _, _ := strings.Cut(strings.TrimSpace(trouble.text.String()), "\n")
		if said != "" {
			return "", fmt.Errorf("%s: %w: %s", printable(s.command[0]), err, printable(said))
		}
		return "", fmt.Errorf("%s: %w", printable(s.command[0]), err)
	}
	return out.text.String(), nil
}

// bounded keeps the first part of what a command says and drops the rest,
// without blocking it.
type bounded struct{ text bytes.Buffer }

func (b *bounded) Write(p []byte) (int, error) {
	b.text.Write(p[:min(len(p), maxSecretSize-b.text.Len())])
	return len(p), nil
}

// hidden stands for a secret wherever one would be shown.
const hidden = "***"

func (s Secret) String() string               { return hidden }
func (s Secret) GoString() string             { return hidden }
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(hidden) }

// Format covers the verbs that do not ask String, such as %d.
func (s Secret) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

func password(to *Secret) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		var value string
		text(&value, notEmpty).value(d, key, n)
		if readableBy(d.mode, 0o077) {
			d.problem(n.line, key, "is in a file that others can read", "run: chmod 600 "+shellQuote(d.path))
		}
		*to = Secret{source: fromConfig, value: value}
	}}
}

func passwordFile(to *Secret) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		var path string
		text(&path, notEmpty).value(d, key, n)
		if path == "" {
			return
		}
		path = d.resolve(path)
		*to = Secret{source: fromFile, value: path}
		_, mode, err := readSmall(path, maxSecretSize)
		switch {
		case err != nil:
			d.problem(n.line, key, "cannot be read: "+reason(err), "check the path; a relative one begins at the folder of the config file")
		// Not the group: where a service manager hands over a credential by
		// an access list, the list's mask shows there.
		case readableBy(mode, 0o007):
			d.problem(n.line, key, path+" can be read by everybody", "run: chmod 600 "+shellQuote(path))
		}
	}}
}

func passwordEnv(to *Secret) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		var name string
		text(&name, notEmpty).value(d, key, n)
		if name == "" {
			return
		}
		*to = Secret{source: fromEnv, value: name}
		// The variable may well be set where serve runs.
		if os.Getenv(name) == "" {
			d.warn(n.line, key, "the environment variable is not set here", "set it where serve is started")
		}
	}}
}

func passwordCommand(to *Secret) rule {
	return rule{value: func(d *decoder, key string, n *node) {
		var command []string
		texts(&command, `["pass", "work"]`).value(d, key, n)
		if len(command) == 0 {
			return
		}
		if command[0] == "" {
			d.problem(n.line, key, "names no program", `write password_command = ["pass", "work"]`)
			return
		}
		*to = Secret{source: fromCommand, command: command, dir: d.dir}
	}}
}

// notEmpty, unlike other checks, is safe for secrets: it quotes nothing.
func notEmpty(s string) fault {
	if s == "" {
		return fault{"is empty", "leave the key out where it is not needed"}
	}
	return fault{}
}

// shellQuote makes a path fit to be pasted into a shell.
func shellQuote(path string) string {
	plain := strings.IndexFunc(path, func(r rune) bool {
		return !strings.ContainsRune("/._-+,:@%", r) && (r > 0x7f || !isAlphanumeric(byte(r)))
	}) < 0
	if plain {
		return path
	}
	return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'"
}
