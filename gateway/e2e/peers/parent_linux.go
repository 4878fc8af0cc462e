package peers

import "syscall"

// dieWithParent has the kernel end a server whose test binary was killed. (It
// forgets this for one that changes its user.)
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
