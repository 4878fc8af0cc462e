// Package limits holds the built gateway to the memory it may use. It needs
// neither root nor a network, but the /proc of Linux.
package limits
