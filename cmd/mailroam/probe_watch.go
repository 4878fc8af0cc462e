package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"mailroam/gateway"
)

// watch prints until it is told to end, which is no failure.
func (p probing) watch(ctx context.Context) error {
	changed, probed := p.printChange, p.printProbe
	if p.json {
		changed = func(c gateway.NetworkChange) { p.printLine(changeLine{"change", c}) }
		probed = func(r gateway.ProbeReport) { p.printLine(probeLine{"probe", time.Now().UTC(), r}) }
	}
	return gateway.Watch(ctx, p.cfg, p.opts, changed, probed)
}

// changeLine and probeLine are the lines of `probe --watch --json`.
type changeLine struct {
	Event string `json:"event"`
	gateway.NetworkChange
}

type probeLine struct {
	Event string    `json:"event"`
	At    time.Time `json:"at"`
	gateway.ProbeReport
}

// printLine writes v on one line. A write that fails is told at the end.
func (p probing) printLine(v any) {
	e := json.NewEncoder(p.out)
	e.SetEscapeHTML(false)
	_ = e.Encode(v)
}

func (p probing) printChange(c gateway.NetworkChange) {
	kind, style := "minor", dim
	if c.Major {
		kind, style = fmt.Sprintf("network %d", c.Generation), bold
	}
	why := strings.Join(c.Why, "; ")
	if c.Offline {
		why += " (offline)"
	}
	t := table{colour: p.colour}
	t.add(cell{c.At.Local().Format(time.TimeOnly), dim}, cell{fmt.Sprintf("%-10s", kind), style}, cell{text: long(strings.TrimSpace(why))})
	t.print(p.out)
}

// printProbe is a line for each upstream, and the verdict.
func (p probing) printProbe(r gateway.ProbeReport) {
	t := table{colour: p.colour}
	at := cell{time.Now().Format(time.TimeOnly), dim}
	for _, u := range r.Upstreams {
		style := green
		if !u.Works {
			style = red
		}
		t.add(at, cell{fmt.Sprintf("%-10s", safe(u.Name)), bold}, cell{long(u.Why), style})
		at = cell{text: "        "}
	}
	t.add(at, cell{text: fmt.Sprintf("%-10s", "")}, cell{text: long(strings.Join(r.Verdict, " "))})
	t.print(p.out)
}
