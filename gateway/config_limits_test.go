package gateway

import (
	"testing"

	"mailroam/gateway/relay"
)

func TestLimits(t *testing.T) {
	c := parseGood(t, oneUpstream+`limits = { connections = 3, per_minute = 30, per_hour = 500, per_day = 2_000, recipients = 100, message = "25MiB" }`+"\n")
	if want := (LimitsConfig{3, 30, 500, 2000, 100, 25 << 20}); c.Upstreams[0].Limits != want {
		t.Errorf("%+v, want %+v", c.Upstreams[0].Limits, want)
	}
}

// What a provider is known to allow holds where the config says nothing.
func TestLimitsOfAProfile(t *testing.T) {
	for _, c := range []struct {
		written LimitsConfig
		profile *relay.Profile
		want    LimitsConfig
	}{
		{LimitsConfig{}, nil, LimitsConfig{Connections: 16}},
		{LimitsConfig{}, &relay.Profile{Connections: 3, Recipients: 100}, LimitsConfig{Connections: 3, Recipients: 100}},
		{LimitsConfig{}, &relay.Profile{Connections: 50}, LimitsConfig{Connections: 16}},
		{LimitsConfig{Connections: 20, Recipients: 5}, &relay.Profile{Connections: 3, Recipients: 100}, LimitsConfig{Connections: 20, Recipients: 5}},
	} {
		fields := newTable(0)
		l := LimitsConfig{Connections: 16}
		if n := c.written.Connections; n > 0 {
			fields.fields["connections"], l.Connections = &node{}, n
		}
		if n := c.written.Recipients; n > 0 {
			fields.fields["recipients"], l.Recipients = &node{}, n
		}
		e := &upstreamEntry{node: newTable(0), u: UpstreamConfig{Limits: l, Profile: c.profile}}
		if c.written != (LimitsConfig{}) {
			e.node.fields["limits"] = fields
		}
		if (&decoder{}).settleLimits(e); e.u.Limits != c.want {
			t.Errorf("%+v with %+v: %+v, want %+v", c.written, c.profile, e.u.Limits, c.want)
		}
	}
}
