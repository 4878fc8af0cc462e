package gateway

import (
	"fmt"
	"testing"

	"mailroam/gateway/alert"
	"mailroam/gateway/dispatch"
)

func TestChains(t *testing.T) {
	up := func(name, defaultFrom string, senders ...string) UpstreamConfig {
		return UpstreamConfig{Name: name, DefaultFrom: defaultFrom, Senders: senders}
	}
	for _, tt := range []struct {
		name string
		ups  []UpstreamConfig
		want []alert.Chain
	}{
		{"for all", []UpstreamConfig{up("a", ""), up("b", "")}, []alert.Chain{{Senders: []string{"anybody else"}, Upstreams: []string{"a", "b"}}}},
		{"each its own", []UpstreamConfig{up("a", "", "@a.example"), up("b", "", "@B.example")}, []alert.Chain{
			{Senders: []string{"@a.example"}, Upstreams: []string{"a"}}, {Senders: []string{"@b.example"}, Upstreams: []string{"b"}},
		}},
		{"one for some, one for all", []UpstreamConfig{up("a", "", "@a.example", "bob@b.example"), up("b", "")}, []alert.Chain{
			{Senders: []string{"@a.example", "bob@b.example"}, Upstreams: []string{"a", "b"}}, {Senders: []string{"anybody else"}, Upstreams: []string{"b"}},
		}},
		{"an address within a domain", []UpstreamConfig{up("a", "", "ann@a.example"), up("b", "", "@a.example")}, []alert.Chain{
			{Senders: []string{"ann@a.example"}, Upstreams: []string{"a", "b"}}, {Senders: []string{"@a.example"}, Upstreams: []string{"b"}},
		}},
		{"programs", []UpstreamConfig{up("a", "ann@a.example", "@a.example"), up("b", "", "@a.example")}, []alert.Chain{
			{Senders: []string{"@a.example"}, Upstreams: []string{"a", "b"}}, {Senders: []string{"programs without an address"}, Upstreams: []string{"a"}},
		}},
		{"patterns", []UpstreamConfig{up("a", "", "@*.a.example", "*"), up("b", "", "@x.a.example", "ann+*@b.example")}, []alert.Chain{
			{Senders: []string{"@*.a.example", "anybody else"}, Upstreams: []string{"a"}}, {Senders: []string{"@x.a.example", "ann+*@b.example"}, Upstreams: []string{"a", "b"}},
		}},
		{"rewritten", []UpstreamConfig{up("a", "", "ann@a.example"), {Name: "b", Senders: []string{"me@b.example"}, Rewrite: []dispatch.Rewrite{{Pattern: "@a.example", Address: "me@b.example"}}}}, []alert.Chain{
			{Senders: []string{"ann@a.example"}, Upstreams: []string{"a", "b"}}, {Senders: []string{"me@b.example", "@a.example"}, Upstreams: []string{"b"}},
		}},
		{"by recipient", []UpstreamConfig{{Name: "a", Recipients: []string{"*.corp.example"}}, up("b", "", "@b.example")}, []alert.Chain{
			{Senders: []string{"@b.example"}, Upstreams: []string{"b"}},
			{Senders: []string{"@b.example to *.corp.example"}, Upstreams: []string{"a", "b"}},
			{Senders: []string{"anybody else to *.corp.example"}, Upstreams: []string{"a"}},
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := chains(tt.ups); fmt.Sprint(got) != fmt.Sprint(tt.want) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}
