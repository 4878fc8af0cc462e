package msa

import "time"

// pace is how a body must come: not idle, and at a floor rate on average, so
// that a slow line passes and a client that only holds the connection does not.
type pace struct {
	limits *Limits
	since  time.Time
	got    int64
}

func (s *Server) pace(now time.Time) pace { return pace{limits: &s.Limits, since: now} }

// deadline is when the next octets must have come.
func (p *pace) deadline(now time.Time) time.Time {
	idle := now.Add(p.limits.Idle)
	due := p.since.Add(p.limits.Grace + time.Duration(p.got)*time.Second/time.Duration(p.limits.MinRate))
	if due.Before(idle) {
		return due
	}
	return idle
}
