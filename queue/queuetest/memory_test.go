package queuetest_test

import (
	"testing"

	"mailroam/queue"
	"mailroam/queue/queuetest"
)

func TestMemory(t *testing.T) {
	queuetest.Run(t, func(testing.TB) queue.Store { return queuetest.NewMemory() })
}

func TestMemoryModel(t *testing.T) {
	queuetest.RunModel(t, func(testing.TB) queue.Store { return queuetest.NewMemory() })
}
