//go:build !unix

package msa

import "net"

// spokeEarly needs a look at the socket that this system does not give; what
// browsers send is then told by its first line.
func spokeEarly(net.Conn) bool { return false }
