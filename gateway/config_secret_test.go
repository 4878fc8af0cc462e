package gateway

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testCA is a certificate in PEM.
func testCA(t *testing.T) []byte {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// secretOf parses one upstream that has the given line for its password.
func secretOf(t *testing.T, dir, line string) Secret {
	t.Helper()
	c, err := Parse(filepath.Join(dir, "config.toml"), []byte(oneUpstream+"username = \"ann\"\n"+line+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return c.Upstreams[0].Secret
}

func TestSecretSources(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	write("pw", "from file\r\nsecond line\n", 0o600)
	write("give", "#!/bin/sh\ncat; pwd; echo second\n", 0o700)
	t.Setenv("MAILROAM_TEST_PASSWORD", "from env")
	for line, want := range map[string]string{
		`password = "from config"`:                               "from config",
		`password_file = "pw"`:                                   "from file",
		`password_file = "` + dir + `/pw"`:                       "from file",
		`password_env = "MAILROAM_TEST_PASSWORD"`:                "from env",
		`password_command = ["printf", "%s %s\n2", "a b", "c"]`:  "a b c",
		`password_command = ["./give"]`:                          dir,
		`password_command = ["sh", "-c", "sleep 60 & echo yes"]`: "yes", // a child that stays must not keep us
	} {
		got, err := secretOf(t, dir, line).Read(t.Context())
		if got != want || err != nil {
			t.Errorf("%s gives %q, %v", line, got, err)
		}
	}
}

func TestSecretTrouble(t *testing.T) {
	dir := t.TempDir()
	pw := filepath.Join(dir, "pw")
	if err := os.WriteFile(pw, []byte("\nhunter2"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "nul"), []byte("a\x00b"), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		`password_file = "pw"`:                                           "password_file: it is empty",
		`password_file = "nul"`:                                          "holds a NUL",
		`password_env = "MAILROAM_TEST_NOWHERE"`:                         "no MAILROAM_TEST_NOWHERE",
		`password_command = ["false"]`:                                   "password_command: false: exit status 1",
		`password_command = ["mailroam-no-such-program"]`:                "executable file not found",
		`password_command = ["true"]`:                                    "it is empty",
		`password_command = ["sh", "-c", "echo lock\\\\ed >&2; exit 3"]`: "sh: exit status 3: lock",
	} {
		_, err := secretOf(t, dir, line).Read(t.Context())
		key, _, _ := strings.Cut(line, " ")
		if err == nil || !strings.HasPrefix(err.Error(), key+": ") || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter") {
			t.Errorf("%s: %v, want %q", line, err, want)
		}
	}

	s := secretOf(t, dir, `password_file = "pw"`)
	if err := os.Chmod(pw, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Read(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod 600 "+pw) {
		t.Errorf("a file that everybody can read now: %v", err)
	}
	if _, err := Parse(filepath.Join(dir, "config.toml"), []byte(oneUpstream+"username = \"ann\"\npassword_file = \"pw\"\n")); err == nil || !strings.Contains(err.Error(), "run: chmod 600 "+pw) {
		t.Errorf("a password_file that everybody can read: %v", err)
	}
	if _, err := (Secret{}).Read(t.Context()); err == nil || err.Error() != "none is configured" {
		t.Errorf("no secret: %v", err)
	}
}

func TestPasswordCommandIsBounded(t *testing.T) {
	loud := secretOf(t, t.TempDir(), `password_command = ["sh", "-c", "head -c 1000000 /dev/zero | tr '\\\\0' x >&2; printf '\\\\033[31m' >&2; exit 1"]`)
	if _, err := loud.Read(t.Context()); err == nil || len(err.Error()) > 400 || strings.Contains(err.Error(), "\x1b") {
		t.Errorf("what a command complains is shown at any length: %.300q", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	begin := time.Now()
	_, err := secretOf(t, t.TempDir(), `password_command = ["sleep", "60"]`).Read(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) > 30*time.Second {
		t.Errorf("after %v: %v", time.Since(begin), err)
	}
}

// The limit is ten seconds, which nobody wants to wait for here.
func TestPasswordCommandLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	t.Parallel()
	begin := time.Now()
	_, err := secretOf(t, t.TempDir(), `password_command = ["sleep", "60"]`).Read(t.Context())
	if took := time.Since(begin); err == nil || !strings.Contains(err.Error(), "no answer within 10s") || took < 9*time.Second || took > 40*time.Second {
		t.Errorf("after %v: %v", took, err)
	}
}

// However a secret is printed, it is not seen.
func TestSecretIsNeverShown(t *testing.T) {
	c, err := Parse("/etc/mailroam/config.toml", []byte("[alert]\nwebhook = \"https://ann:hunter2@example.com/hunter2?token=hunter2\"\n"+oneUpstream+"username = \"ann\"\npassword = \"hunter2\"\n"))
	if err != nil {
		t.Fatal(err)
	}
	u := c.Upstreams[0]
	var out bytes.Buffer
	for _, v := range []any{u.Secret, &u.Secret, u, &u, *c, c, []Secret{u.Secret}, map[string]Secret{"a": u.Secret}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%T"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		out.Write(text)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
	}
	for _, shown := range []string{"hunter2", fmt.Sprintf("%x", "hunter2"), "104 117 110"} {
		if strings.Contains(out.String(), shown) {
			t.Errorf("the password is shown: %s", out.String())
		}
	}
	if !strings.Contains(out.String(), hidden) {
		t.Error("this test printed nothing")
	}
}

func TestAccountMark(t *testing.T) {
	dir := t.TempDir()
	pw := filepath.Join(dir, "pw")
	account := func(password string, lines ...string) string {
		t.Helper()
		if err := os.WriteFile(pw, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Parse(filepath.Join(dir, "config.toml"), []byte(oneUpstream+strings.Join(lines, "\n")))
		if err != nil {
			t.Fatal(err)
		}
		return c.Upstreams[0].Account()
	}
	ann, file := `username = "ann"`, `password_file = "pw"`
	base := account("one", ann, file)
	if again := account("one", ann, file, "limits.connections = 3"); again != base {
		t.Error("it changes with what no login knows")
	}
	for name, other := range map[string]string{
		"the file's password": account("two", ann, file),
		"the user":            account("one", `username = "bob"`, file),
		"the source":          account("one", ann, `password = "three"`),
		"the mechanism":       account("one", ann, file, `auth = "plain"`),
	} {
		if other == base {
			t.Errorf("it does not change with %s", name)
		}
	}
	if len(base) != 4 {
		t.Errorf("%q tells more of the password than it must", base)
	}
}

// One slip of the pen anywhere must not bring a password into a complaint.
func TestSlipsShowNoSecret(t *testing.T) {
	text := "[[upstream]]\nname = \"work\"\nurls = [\"smtp://mail.example.com\", \"smtps://mail.example.com\"]\nusername = \"ann\"\npassword = \"hunter2\"\nauth = \"plain\"\n[alert]\nwebhook = \"https://ann:hunter2@example.com/hunter2?t=hunter2\"\n"
	complaints := 0
	for at := range text {
		for _, slip := range []string{"", `"`, `'`, `"""`, "\n", "\r", "=", "[", "]", "{", "}", "#", `\`, ".", ",", " ", "@", "\x00", "\xff", "é", "1"} {
			for _, slipped := range []string{text[:at] + slip + text[at:], text[:at] + slip + text[at+1:]} {
				_, err := Parse("/etc/mailroam/config.toml", []byte(slipped))
				if err == nil {
					continue
				}
				complaints++
				for _, part := range []string{"hunt", "unte", "nter", "ter2"} {
					if strings.Contains(err.Error(), part) {
						t.Fatalf("%q at %d: %v", slip, at, err)
					}
				}
			}
		}
	}
	if complaints < 1000 {
		t.Errorf("only %d of the slips were found wrong: this shows little", complaints)
	}
}
