// Package failover measures from outside how long mail waits when upstreams
// fail: the real binary, real sockets, real time.
package failover
