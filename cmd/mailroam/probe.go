package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"mailroam/gateway"
	"mailroam/queue"
)

func (a *app) probeCommand() *cobra.Command {
	var o gateway.ProbeOptions
	var asJSON, watch bool
	c := &cobra.Command{
		Use:   "probe [NAME…]",
		Short: "Say what this network lets through to your upstreams",
		Long: `Try every address of every endpoint step by step (DNS, TCP, TLS, greeting,
EHLO), of all upstreams or of those named, and say in plain words what works,
what does not, and whether that is the network's fault. No gateway needs to run,
and no mail is sent. The exit code is 0 when an upstream works, else 69.

With --login it logs in too, once at each upstream. Do not repeat that with a
password that may be wrong: providers lock accounts after a few refused logins.

With --watch it stays, prints each change of the network as it comes, and what
works after each one that matters, until Ctrl-C.`,
		Example: "  mailroam probe\n  mailroam probe work --login\n  mailroam probe --json\n  mailroam probe --watch\n  mailroam probe --watch --json",
		Args: func(c *cobra.Command, args []string) error {
			if watch && o.Login {
				return usage(c, "--watch does not go with --login, which would log in again in each network")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			cfg, err := a.load()
			if err != nil {
				return err
			}
			o.Names = args
			p := probing{app: a, cfg: cfg, opts: o, json: asJSON}
			if watch {
				err = p.watch(c.Context())
			} else {
				err = p.once(c.Context())
			}
			if no, ok := errors.AsType[*gateway.NoUpstreamError](err); ok {
				return &failure{code: exUsage, what: fmt.Errorf("there is no upstream %q", safe(no.Name)), next: "there are: " + strings.Join(no.Have, ", ")}
			}
			return err
		},
		ValidArgsFunction: func(*cobra.Command, []string, string) (names []string, _ cobra.ShellCompDirective) {
			if path, err := gateway.FindConfig(a.config); err == nil {
				if cfg, err := gateway.Load(path); err == nil {
					for _, u := range cfg.Upstreams {
						names = append(names, u.Name)
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
	}
	fs := c.Flags()
	fs.BoolVar(&o.Login, "login", false, "log in too, once at each upstream; wrong logins,\nrepeated, may lock the account")
	fs.BoolVar(&watch, "watch", false, "stay, and tell of each change of the network")
	fs.BoolVar(&asJSON, "json", false, "print JSON; with --watch, one object on each line")
	return c
}

// probing is one run of the command.
type probing struct {
	*app
	cfg  *gateway.Config
	opts gateway.ProbeOptions
	json bool
}

// once prints what is found as it comes where a person looks on, else in the
// config's order.
func (p probing) once(ctx context.Context) error {
	live := !p.json && p.isTerminal()
	if live {
		p.opts.Found = p.printFound()
	}
	r, err := gateway.Probe(ctx, p.cfg, p.opts)
	if err != nil {
		return err
	}
	switch {
	case p.json:
		if err := printJSON(p.out, r); err != nil {
			return err
		}
	case live:
		fmt.Fprintln(p.out)
	default:
		p.printSteps(r)
	}
	if !p.json {
		p.printReport(r)
	}
	if r.Works {
		return nil
	}
	return p.noneWorks(r)
}

// isTerminal says whether a person sees each line as it is printed.
func (p probing) isTerminal() bool {
	o, ok := p.out.(*output)
	if !ok {
		return false
	}
	f, ok := o.to.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// printFound gives what prints a line for each step. The columns are as wide
// as the config makes them.
func (p probing) printFound() func(string, int, gateway.ProbeStep) {
	endpoints, width := map[string][]string{}, 0
	for _, u := range p.cfg.Upstreams {
		for _, url := range u.URLs {
			text := u.Name + "  " + url.Address()
			endpoints[u.Name] = append(endpoints[u.Name], text)
			width = max(width, columns(text))
		}
	}
	return func(upstream string, endpoint int, s gateway.ProbeStep) {
		where := endpoints[upstream][endpoint]
		t := table{colour: p.colour}
		t.add(append([]cell{{where + strings.Repeat(" ", width-columns(where)), dim}}, stepCells(s)...)...)
		t.print(p.out)
	}
}

// stepCells are wide enough for all but long addresses.
func stepCells(s gateway.ProbeStep) []cell {
	mark := cell{"ok    ", green}
	if !s.OK {
		mark = cell{"failed", red}
	}
	return []cell{
		{text: fmt.Sprintf("%-8s", s.Step)},
		mark,
		{fmt.Sprintf("%6s", took(s)), dim},
		{fmt.Sprintf("%-21s", safe(s.Address)), dim},
		{text: safe(s.Text)},
	}
}

func took(s gateway.ProbeStep) string {
	return span(max(time.Microsecond, time.Duration(s.TookMS*float64(time.Millisecond))))
}

// printSteps prints all that was found.
func (p probing) printSteps(r gateway.ProbeReport) {
	for _, u := range r.Upstreams {
		for _, e := range u.Endpoints {
			fmt.Fprintf(p.out, "%s  %s\n", p.colour.in(bold, safe(u.Name)), safe(e.Endpoint))
			t := table{colour: p.colour, indent: "  "}
			for _, s := range e.Steps {
				t.add(stepCells(s)...)
			}
			t.print(p.out)
			fmt.Fprintln(p.out)
		}
	}
}

// printReport prints what it means; the verdict is the last paragraph.
func (p probing) printReport(r gateway.ProbeReport) {
	t := table{colour: p.colour}
	t.heading("UPSTREAM", "ENDPOINT", "", "VERDICT")
	for _, u := range r.Upstreams {
		name := safe(u.Name)
		for _, e := range u.Endpoints {
			mark := cell{"ok", green}
			if !e.Works {
				mark = cell{"no", red}
			}
			t.add(cell{name, bold}, cell{text: safe(e.Endpoint)}, mark, cell{text: long(e.Verdict)})
			name = ""
		}
	}
	t.print(p.out)
	gap := "\n"
	for _, u := range r.Upstreams {
		if u.Works || u.Why == u.Endpoints[0].Verdict {
			continue // the table says it all
		}
		fmt.Fprintf(p.out, "%s%s does not work: %s\n", gap, p.colour.in(bold, safe(u.Name)), long(u.Why))
		gap = ""
	}
	if r.Works && !p.opts.Login && p.needsLogin(r) {
		fmt.Fprintf(p.out, "\n%s\n", p.colour.in(dim, "Logins were not tried; --login does that."))
	}
	style := green
	if !r.Works || r.Network.Why != "" {
		style = yellow
	}
	fmt.Fprintf(p.out, "\n%s\n", p.colour.in(style, long(strings.Join(r.Verdict, " "))))
}

func (p probing) needsLogin(r gateway.ProbeReport) bool {
	works := map[string]bool{}
	for _, u := range r.Upstreams {
		works[u.Name] = u.Works
	}
	for _, u := range p.cfg.Upstreams {
		if works[u.Name] && u.Auth != "none" {
			return true
		}
	}
	return false
}

// noneWorks is the command's error: the network's trouble, or that of the
// upstream, if there is one.
func (p probing) noneWorks(r gateway.ProbeReport) error {
	f := &failure{code: exUnavailable, next: "look again when the reasons above are gone, or correct the config: " + p.command("check")}
	switch {
	case r.Network.Why != "":
		f.what = fmt.Errorf("no upstream works: %s", uncapital(strings.TrimSuffix(r.Network.Why, ".")))
		if r.Network.Advice != "" {
			f.next = r.Network.Advice
		}
	case len(r.Upstreams) == 1:
		f.what = fmt.Errorf("no upstream works: %s", r.Upstreams[0].Why)
	default:
		f.what = errors.New("no upstream works, each for a reason of its own")
	}
	return f
}

// long is safe for texts that are not cut in a table.
func long(s string) string { return queue.Printable(s, 2000) }

func uncapital(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if strings.HasPrefix(s, "IPv") || strings.HasPrefix(s, "DNS") {
		return s
	}
	return string(unicode.ToLower(r)) + s[n:]
}
