package gateway

import (
	"context"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"mailroam/gateway/admin"
	"mailroam/gateway/relay"
	"mailroam/health/netmon"
	"mailroam/queue"
)

// ProbeOptions says what to probe, and how far.
type ProbeOptions struct {
	Names []string // of upstreams; none means all
	// Login logs in, once at each upstream that needs it. Providers lock
	// accounts after a few wrong logins.
	Login bool
	// Found, if any, hears of each step as it is done, from one goroutine at a
	// time: of which upstream, and which of its endpoints, counted from 0.
	Found func(upstream string, endpoint int, step ProbeStep)
}

// ProbeReport is what a probe found and what it means. Its JSON is stable, and
// all its texts are escaped.
type ProbeReport struct {
	Works     bool            `json:"works"` // some upstream does
	Network   ProbeNetwork    `json:"network"`
	Verdict   []string        `json:"verdict"` // whole sentences, the network first
	Upstreams []ProbeUpstream `json:"upstreams"`
}

// ProbeNetwork is what the findings say about the network.
type ProbeNetwork struct {
	// State is a word of health's: online, offline, unreachable, portal or
	// clock.
	State  string `json:"state"`
	Why    string `json:"why,omitempty"`
	Advice string `json:"advice,omitempty"`
	// Manager is what NetworkManager thinks: none, portal, limited or full; ""
	// where there is none, or it does not know.
	Manager    string            `json:"network_manager,omitempty"`
	Interfaces []admin.Interface `json:"interfaces"` // as in the status
}

// ProbeUpstream is an upstream, in the order of the config.
type ProbeUpstream struct {
	Name      string          `json:"name"`
	Works     bool            `json:"works"`
	Why       string          `json:"why"` // by what it works, or why not and what to do
	Endpoints []ProbeEndpoint `json:"endpoints"`
}

// ProbeEndpoint is an endpoint, in the order of the config.
type ProbeEndpoint struct {
	Endpoint string      `json:"endpoint"` // host:port
	Works    bool        `json:"works"`
	Verdict  string      `json:"verdict"`
	Steps    []ProbeStep `json:"steps"` // those of one address together
}

// ProbeStep is one step at one address.
type ProbeStep struct {
	Step    string  `json:"step"`    // dns, connect, tls, greeting, ehlo, starttls or auth
	Address string  `json:"address"` // ip:port; "" for dns
	OK      bool    `json:"ok"`
	Text    string  `json:"text"` // what was found, or what went wrong
	TookMS  float64 `json:"took_ms"`
}

// NoUpstreamError says that the config has no upstream of that name.
type NoUpstreamError struct {
	Name string
	Have []string
}

func (e *NoUpstreamError) Error() string {
	return fmt.Sprintf("there is no upstream %q; there are: %s", queue.Printable(e.Name, 64), strings.Join(e.Have, ", "))
}

// named gives the upstreams with these names, or all, in the config's order.
func (c *Config) named(names []string) ([]UpstreamConfig, error) {
	var have []string
	for _, u := range c.Upstreams {
		have = append(have, u.Name)
	}
	for _, name := range names {
		if !slices.Contains(have, name) {
			return nil, &NoUpstreamError{name, have}
		}
	}
	return slices.DeleteFunc(slices.Clone(c.Upstreams), func(u UpstreamConfig) bool {
		return len(names) > 0 && !slices.Contains(names, u.Name)
	}), nil
}

// The time that a probe takes at most, and NetworkManager may take to answer.
const (
	probeTime   = time.Minute
	managerTime = time.Second
)

// Probe tries every address of every endpoint, all upstreams side by side, and
// says what that means. No gateway needs to run. The error is *NoUpstreamError,
// or that ctx ended.
func Probe(ctx context.Context, cfg *Config, o ProbeOptions) (ProbeReport, error) {
	ups, err := cfg.named(o.Names)
	if err != nil {
		return ProbeReport{}, err
	}
	limited, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	watcher := netmon.New(netmon.Options{})
	e := evidence{tried: make([]tried, len(ups)), login: o.Login, network: watcher.Snapshot()}
	var all sync.WaitGroup
	all.Go(func() {
		asked, cancel := context.WithTimeout(limited, managerTime)
		defer cancel()
		e.manager = netmon.AskNetworkManager(asked)
	})
	var mu sync.Mutex // held while Found runs
	for i, u := range ups {
		t := &e.tried[i]
		*t = newTried(u)
		opts := relayOptions(cfg.Hostname, u, slog.New(slog.DiscardHandler))
		opts.Lookup = newPlace(watcher).lookup
		all.Go(func() {
			relay.New(opts).Examine(limited, o.Login, func(f relay.Finding) {
				t.note(f)
				if o.Found != nil {
					mu.Lock()
					defer mu.Unlock()
					o.Found(u.Name, f.Number, stepOf(u.URLs[f.Number], f, time.Now()))
				}
			})
		})
	}
	all.Wait()
	if ctx.Err() != nil {
		return ProbeReport{}, ctx.Err()
	}
	return e.report(time.Now()), nil
}

// maxProbeText bounds what is shown of a server's words.
const maxProbeText = 500

// stepOf puts a finding in words.
func stepOf(u UpstreamURL, f relay.Finding, now time.Time) ProbeStep {
	s := ProbeStep{
		Step: f.Stage.String(), Address: f.Address, OK: f.Err == nil, Text: f.Text,
		TookMS: math.Round(f.Took.Seconds()*1e4) / 10,
	}
	if f.Err != nil {
		s.Text = explain(u, relay.Rules{}, f, now).what
	}
	s.Text = queue.Printable(s.Text, maxProbeText)
	return s
}
