package netmon

import (
	"slices"
	"strings"
	"testing"
)

func TestLosses(t *testing.T) {
	const more = dual + "\ndocker0 172.17.0.1/16"
	for _, row := range []struct {
		name, before, after string
		want                []string
	}{
		{"nothing", more, more, nil},
		{"interface", more, strings.ReplaceAll(more, "docker0", "docker1"), []string{"docker0"}},
		{"IPv4 address", more, strings.ReplaceAll(more, "192.168.1.20/24", ""), []string{"eth0"}},
		{"one of two", "eth0 10.0.0.1/24 10.0.0.2/24", "eth0 10.0.0.1/24", []string{"eth0"}},
		{"IPv6 address", more, strings.ReplaceAll(more, "2001:db8:1::20/64", ""), nil},
		{"other prefix length", "eth0 10.0.0.1/24", "eth0 10.0.0.1/16", nil},
		{"default route", more, strings.ReplaceAll(more, "default via 192.168.1.1 dev eth0 metric 100", ""), []string{"eth0"}},
		{"IPv6 default route", more, strings.ReplaceAll(more, "default via fe80::1 dev eth0 metric 100", ""), []string{"eth0"}},
		{"metric", more, strings.ReplaceAll(more, "100", "200"), nil},
		{"other gateway", more, strings.ReplaceAll(more, "via 192.168.1.1 ", "via 192.168.1.2 "), nil},
		{"half a default", "tun0 10.8.0.2/24\n0.0.0.0/1 dev tun0\n128.0.0.0/1 dev tun0", "tun0 10.8.0.2/24\n0.0.0.0/1 dev tun0", nil},
		{"everything", more, "", []string{"docker0", "eth0"}},
		{"network comes", "", more, nil},
	} {
		if got := losses(network(row.before), network(row.after)); !slices.Equal(got, row.want) {
			t.Errorf("%s: %q, should be %q", row.name, got, row.want)
		}
	}
	// The carrier was away for a moment.
	before, after := network(more), network(more)
	after.Interfaces[1].downs++
	if got := losses(before, after); !slices.Equal(got, []string{"eth0"}) {
		t.Errorf("carrier: %q", got)
	}
}
