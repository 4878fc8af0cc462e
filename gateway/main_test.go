package gateway

import (
	"os"
	"testing"
)

// TestMain gives a home to whoever has none: most configs here name no data_dir,
// whose default is below it.
func TestMain(m *testing.M) {
	if os.Getenv("HOME") == "" {
		_ = os.Setenv("HOME", "/nonexistent")
	}
	m.Run()
}
