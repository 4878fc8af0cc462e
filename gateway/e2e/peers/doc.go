// Package peers runs real mail servers as processes for tests and for the
// benchmark: Debian's Postfix, Debian's Exim and our own binary. Each one lives
// in a folder of its own, listens on loopback only, touches nothing of the
// machine's own mail set-up, and is gone when Close returns.
package peers
