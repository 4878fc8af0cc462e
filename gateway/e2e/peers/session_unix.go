//go:build unix

package peers

import "syscall"

// leadSession makes the child lead a session, not only a group: Postfix's
// master insists on it.
func leadSession(attr *syscall.SysProcAttr) { attr.Setsid = true }

// killSession kills a leader with whatever it forked.
func killSession(leader int) { _ = syscall.Kill(-leader, syscall.SIGKILL) }
