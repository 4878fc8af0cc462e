package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
)

// Account is a mark that changes when what is told to the upstream at login
// does, so that one may try again a login that was refused. It is 16 bits of a
// digest, to be kept in a file: enough to notice a change, too few to find a
// password by. What a command would give is not in it.
func (u UpstreamConfig) Account() string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q %q", u.Auth, u.Username, u.Secret.source, u.Secret.command)
	for _, url := range u.URLs {
		fmt.Fprintf(h, " %q", url.Raw)
	}
	if u.Secret.source != fromCommand && !u.Secret.IsZero() {
		password, _ := u.Secret.Read(context.Background())
		io.WriteString(h, password)
	}
	return hex.EncodeToString(h.Sum(nil)[:2])
}
