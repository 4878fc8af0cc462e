package msa

import (
	"cmp"
	"time"
)

// Limits bound what clients can use up. A zero value takes the default named
// with it.
type Limits struct {
	MaxConns        int           // connections at a time: 2000; the next gets 421 4.7.0
	MaxConnsPerAddr int           // of them from one address, loopback aside: 64
	MaxRecipients   int           // RCPT accepted in a transaction: 1000; the next gets 452 4.5.3
	MaxHops         int           // Received fields: 50; more is a loop, 554 5.4.6
	Idle            time.Duration // wait for a whole command, or for the next octets of a body: 5m
	Session         time.Duration // how long commands are waited for in all: 1h; it never cuts a body
	MinRate         int64         // octets per second that a body must reach on average: 500
	Grace           time.Duration // how far a body may fall behind MinRate: 1m
	Drain           time.Duration // how long Serve waits for bodies under way when it ends: 8s
}

// withDefaults fills in what is not set. Five minutes is what RFC 5321
// 4.5.3.2.7 asks a server to wait at least for a command.
func (l Limits) withDefaults() Limits {
	return Limits{
		MaxConns:        cmp.Or(l.MaxConns, 2000),
		MaxConnsPerAddr: cmp.Or(l.MaxConnsPerAddr, 64),
		MaxRecipients:   cmp.Or(l.MaxRecipients, 1000),
		MaxHops:         cmp.Or(l.MaxHops, 50),
		Idle:            cmp.Or(l.Idle, 5*time.Minute),
		Session:         cmp.Or(l.Session, time.Hour),
		MinRate:         cmp.Or(l.MinRate, 500),
		Grace:           cmp.Or(l.Grace, time.Minute),
		Drain:           cmp.Or(l.Drain, 8*time.Second),
	}
}
