package netmon

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSettings(t *testing.T) {
	for _, row := range []struct{ name, file, want string }{
		{"empty", "", ""},
		{"comments", "# a\n; b\n\n  nameserver   9.9.9.9   # quad\n", "nameserver 9.9.9.9"},
		{"order of servers", "nameserver 9.9.9.9\nnameserver 1.1.1.1", "nameserver 9.9.9.9\nnameserver 1.1.1.1"},
		{"order of lines", "options edns0\nsearch a.example b.example\nnameserver 9.9.9.9\n", "nameserver 9.9.9.9\nsearch a.example b.example\noptions edns0"},
		{"order of options", "options b a\noptions c b\n", "options a b c"},
		{"last search list", "search a.example\ndomain b.example\n", "search b.example"},
		{"other lines", "sortlist 10.0.0.0\nnameserver\nfoo bar\n", ""},
		{"carriage returns", "nameserver 9.9.9.9\r\n", "nameserver 9.9.9.9"},
	} {
		if got := settings(row.file); got != row.want {
			t.Errorf("%s: %q, should be %q", row.name, got, row.want)
		}
		if again := settings(settings(row.file)); again != row.want {
			t.Errorf("%s: %q the second time", row.name, again)
		}
	}
}

func TestNameservers(t *testing.T) {
	s := Snapshot{Resolver: settings("nameserver 9.9.9.9\nnameserver 2620:fe::fe\nnameserver fe80::1%eth0\nnameserver dns.example\nsearch a.example")}
	var got []string
	for _, a := range s.Nameservers() {
		got = append(got, a.String())
	}
	if want := []string{"9.9.9.9:53", "[2620:fe::fe]:53", "[fe80::1%eth0]:53"}; !slices.Equal(got, want) {
		t.Errorf("%q, should be %q", got, want)
	}
}

// asker is a dialer that notes whom it asks.
func asker(t *testing.T, file string) (d *dialer, asked func() string) {
	var all []string
	d = &dialer{file: filepath.Join(t.TempDir(), "resolv.conf"), dial: func(_ context.Context, network, address string) (net.Conn, error) {
		all = append(all, network+" "+address)
		return nil, errors.New("nobody is there")
	}}
	rewrite(t, d.file, file)
	return d, func() string {
		defer func() { all = nil }()
		return strings.Join(all, ", ")
	}
}

func rewrite(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestDialer(t *testing.T) {
	d, asked := asker(t, "nameserver 9.9.9.9\nnameserver 2620:fe::fe\n")
	dial := func(network, address string) {
		t.Helper()
		if _, err := d.Dial(t.Context(), network, address); err == nil {
			t.Error("no error")
		}
	}
	expect := func(want string) {
		t.Helper()
		if got := asked(); got != want {
			t.Errorf("asked %q, should be %q", got, want)
		}
	}

	// Go asks for what the file names: it chooses.
	dial("udp", "[2620:fe::fe]:53")
	dial("tcp", "9.9.9.9:53")
	expect("udp [2620:fe::fe]:53, tcp 9.9.9.9:53")

	// Go goes by the old file: of two questions side by side both try all.
	for range 4 {
		dial("udp", "192.168.1.1:53")
	}
	expect("udp 9.9.9.9:53, udp 9.9.9.9:53, udp [2620:fe::fe]:53, udp [2620:fe::fe]:53")

	rewrite(t, d.file, "nameserver 10.0.0.1\n")
	dial("tcp", "9.9.9.9:53")
	expect("tcp 10.0.0.1:53")

	// Nothing better is known.
	rewrite(t, d.file, "# none\n")
	dial("udp", "9.9.9.9:53")
	if err := os.Remove(d.file); err != nil {
		t.Fatal(err)
	}
	dial("udp", "127.0.0.1:53")
	expect("udp 9.9.9.9:53, udp 127.0.0.1:53")
}
