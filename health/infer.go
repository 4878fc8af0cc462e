package health

import "slices"

// witness is what an upstream tells of the network that this machine is in.
type witness struct {
	hosts    []string
	routed   bool
	local    bool // on this machine: it shows nothing of the network
	unproven bool // whoever answers is believed: only its silence shows something
	latest   *Fault
}

// infer decides what to think of the network from what each upstream showed
// last in it. It blames the network only for what cannot be the upstreams' own
// fault: for one that fails alone, a typo or an expired certificate are the
// better explanation. It never waits for ever, since the first that answers
// ends all it inferred.
func infer(all []witness) Outlook {
	if len(all) > 0 && !slices.ContainsFunc(all, func(w witness) bool { return w.routed }) {
		return view(Offline)
	}
	ws := slices.DeleteFunc(slices.Clone(all), func(w witness) bool { return !w.routed || w.local })
	proven := slices.ContainsFunc(ws, func(w witness) bool { return !w.unproven })
	ws = slices.DeleteFunc(ws, func(w witness) bool {
		// Anybody may have answered in its place. But who names nothing
		// better has no better witnesses.
		return proven && w.unproven && !w.failed()
	})
	for _, w := range ws {
		if !w.failed() {
			return view(Online) // it answered, or it has not been asked yet
		}
	}
	showing := func(signs ...Sign) []witness {
		return slices.DeleteFunc(slices.Clone(ws), func(w witness) bool { return !slices.Contains(signs, w.latest.Sign) })
	}
	switch late := showing(WrongClock); {
	case len(ws) == 0:
		return view(Online)
	case apart(late):
		return view(Clock)
	case len(late) > 0:
		// It has its key and only its certificate is old, so the network leads
		// to the right one.
		return view(Online)
	case len(showing(DeadDNS)) == len(ws):
		return view(noNames)
	case len(showing(Web)) > 0:
		return view(Portal) // no mistake in a mail server makes it a web server
	case apart(showing(Imposture)):
		return view(Portal)
	case apart(ws):
		return view(Unreachable)
	}
	return view(Online) // charged to the one it is about
}

// failed says that the upstream was asked and did not show itself. A fault that
// is neither the network's nor about who answers was told by somebody.
func (w witness) failed() bool {
	f := w.latest
	return f != nil && (f.Kind == Network || f.Kind == Identity || f.Sign != NoSign)
}

// apart says that some two have no host in common. One without hosts cannot be
// told from the others.
func apart(ws []witness) bool {
	for i, a := range ws {
		for _, b := range ws[:i] {
			if len(a.hosts) > 0 && len(b.hosts) > 0 && !shared(a.hosts, b.hosts) {
				return true
			}
		}
	}
	return false
}

func shared(a, b []string) bool {
	return slices.ContainsFunc(a, func(x string) bool {
		return slices.ContainsFunc(b, func(y string) bool { return fold(x) == fold(y) })
	})
}

// noNames is the view of Unreachable when it is for the name servers alone.
const noNames = "no names"

// view is a state with what people are told about it.
func view(state string) Outlook {
	o := Outlook{State: state}
	switch state {
	case Offline:
		o.Why = "no route leads to any upstream"
		o.Advice = "Join a network: mail waits on disk and leaves by itself."
	case noNames:
		o.State = Unreachable
		o.Why = "the upstreams' names cannot be resolved: no name server answers"
		o.Advice = "Check this network and its name servers; mail waits on disk and leaves by itself when they answer."
	case Unreachable:
		o.Why = "no upstream can be reached, on different hosts: it is the network, not they"
		o.Advice = "Wait, or try another network: mail waits on disk and leaves by itself. `mailroam probe` says what this one lets through."
	case Portal:
		o.Why = "somebody else answers in the upstreams' place: this looks like a captive portal"
		o.Advice = "Open a browser and log in to this network: mail waits on disk and leaves by itself. If there is nothing to log in to, the network intercepts mail, or the urls of an upstream are wrong."
	case Clock:
		o.Why = "the upstreams' certificates are of another time: is this machine's clock right?"
		o.Advice = "Set this machine's clock; mail waits on disk and leaves by itself."
	}
	return o
}
