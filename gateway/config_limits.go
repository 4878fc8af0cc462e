package gateway

// limits are the keys of upstream.limits.
func limits(to *LimitsConfig) rule {
	return rule{table: schema{
		"connections": number(&to.Connections, 1, 1000),
		"per_minute":  number(&to.PerMinute, 1, 1_000_000),
		"per_hour":    number(&to.PerHour, 1, 10_000_000),
		"per_day":     number(&to.PerDay, 1, 100_000_000),
		"recipients":  number(&to.Recipients, 1, 10_000),
		"message":     size(&to.Message, 64<<10, 1<<30),
	}}
}

// settleLimits takes what the provider is known to allow where the config says
// nothing.
func (d *decoder) settleLimits(e *upstreamEntry) {
	l, p := &e.u.Limits, e.u.Profile
	if p == nil {
		return
	}
	written := map[string]*node{}
	if n := e.node.fields["limits"]; n != nil {
		written = n.fields
	}
	if written["connections"] == nil && p.Connections > 0 {
		l.Connections = min(l.Connections, p.Connections)
	}
	if written["recipients"] == nil {
		l.Recipients = p.Recipients
	}
}
