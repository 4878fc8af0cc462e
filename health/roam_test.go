package health

import "mailroam/health/netmon"

// nowhere is the loss of all networks.
var nowhere = netmon.Delta{Major: true, Offline: true, New: netmon.Snapshot{Interfaces: []netmon.Interface{}}, Why: []string{"the last address is gone"}}
