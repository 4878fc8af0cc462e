package gateway

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"time"

	"mailroam/health"
)

// logins remembers which secret each upstream was last told: as a digest under a
// key that only this process has, so that nothing of it can be guessed from a
// dump. It is safe for concurrent use.
type logins struct {
	key []byte

	mu   sync.Mutex
	last map[string]digest // told
	seen map[string]digest // at the last look
}

type digest [sha256.Size]byte

func newLogins() *logins {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // it never fails
	return &logins{key: key, last: map[string]digest{}, seen: map[string]digest{}}
}

func (l *logins) digest(secret string) (d digest) {
	h := hmac.New(sha256.New, l.key)
	h.Write([]byte(secret))
	h.Sum(d[:0])
	return d
}

// noted is read for the logins to upstream, which are noted.
func (l *logins) noted(upstream string, read func(context.Context) (string, error)) func(context.Context) (string, error) {
	if read == nil {
		return nil
	}
	return func(ctx context.Context) (string, error) {
		secret, err := read(ctx)
		if err == nil {
			l.mu.Lock()
			l.last[upstream] = l.digest(secret)
			l.mu.Unlock()
		}
		return secret, err
	}
}

// mended says, once, that the secret is another one than was told last. It must
// have been the same at two looks, for a file is not written in one moment.
func (l *logins) mended(upstream, secret string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.digest(secret)
	last, known := l.last[upstream]
	settled := l.seen[upstream] == d
	l.seen[upstream] = d
	switch {
	case !known: // it was refused before this process began
		l.last[upstream] = d
		return false
	case d == last || !settled:
		return false
	}
	l.last[upstream] = d
	return true
}

// secretEvery is how soon a password file that was mended is noticed.
const secretEvery = 2 * time.Second

// watchSecrets has an upstream that refused our password tried at once when the
// file that holds it was changed. A command is not asked, for it may ask a
// person, and what the config itself holds comes with SIGHUP.
func (g *Gateway) watchSecrets(ctx context.Context) error {
	ticker := time.NewTicker(secretEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			g.lookAtSecrets(ctx)
		}
	}
}

func (g *Gateway) lookAtSecrets(ctx context.Context) {
	for _, s := range g.health.Status() {
		c, ok := g.configOf(s.Name)
		if !ok || s.Kind != health.Account || c.Secret.source != fromFile {
			continue
		}
		secret, err := c.Secret.Read(ctx)
		if err != nil || !g.logins.mended(s.Name, secret) {
			continue
		}
		g.log.Info("upstream", "upstream", s.Name, "text", "its password file holds another password than was refused: that is tried now")
		g.health.Forgive(s.Name, c.Account())
	}
}

func (g *Gateway) configOf(upstream string) (UpstreamConfig, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	u, ok := g.upstreams[upstream]
	return u.config, ok
}
