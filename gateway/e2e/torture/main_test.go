package torture

import (
	"os"
	"testing"

	"mailroam/gateway/e2e/peers"
)

// binary is the mailroam under test, built once.
var binary string

func TestMain(m *testing.M) { os.Exit(peers.WithMailroam(m, &binary)) }
