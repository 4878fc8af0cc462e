package bolt_test

import (
	"testing"

	"mailroam/queue"
	"mailroam/queue/bolt"
	"mailroam/queue/queuetest"
)

func open(t testing.TB, dir string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(bolt.Options{Dir: dir, Ballast: -1})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// quick opens a store that no power cut would spare, for tests of what it
// means.
func quick(t testing.TB, dir string) queue.Store {
	t.Helper()
	s, err := bolt.Open(bolt.Unsynced(dir))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestContract(t *testing.T) {
	queuetest.Run(t, func(t testing.TB) queue.Store { return quick(t, t.TempDir()) })
}

func TestDurable(t *testing.T) { queuetest.RunDurable(t, quick) }

func TestModel(t *testing.T) { queuetest.RunDurableModel(t, quick) }
