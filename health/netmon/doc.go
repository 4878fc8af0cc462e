// Package netmon knows what this machine's network looks like and notices when
// it changes. It knows nothing of who wants to be told.
//
//	rtnetlink events ──┐  50 ms              ┌── Snapshot() for whoever asks
//	every 10 s ────────┼───────▶ look ──▶ newest
//	woken from sleep ──┘          ▲          │ differs from what was told last?
//	resolver file ────────────────┘          └──▶ NewDelta ──▶ tell(Delta)
//
// A [Snapshot] is plain data: the interfaces that have a routable address, the
// routes, and what the resolver file says. All questions about it are pure, and
// so is [NewDelta], which compares two of them. A change is major when what was
// known about who can be reached is worth nothing any more:
//
//   - there was no network and now there is one, or the reverse;
//   - the machine slept for 30 s or longer;
//   - a default route came, went, or leads elsewhere; IPv4 or IPv6 came or went;
//   - an interface with a default route has other addresses, or was cut off for
//     a moment: the same address may be that of another network;
//   - the resolver file says something else;
//   - without any default route: any interface changed in these ways.
//
// All else is minor: a container bridge or a split VPN that comes or goes,
// link-local noise, metrics, naps, and the temporary addresses that IPv6 takes
// and drops within one prefix (RFC 8981).
//
// The [Watcher] is level-triggered. Events only say that it is time to look;
// what is told is always the difference between the newest snapshot and the one
// told before, so a listener that takes its time misses nothing but what is no
// longer true. The one thing a look cannot see is that an address or a route was
// lost and came back in between: [Interface.Lives] counts that from the events.
//
// Linux has the events. Elsewhere, and where the kernel gives none, the Watcher
// looks every ten seconds, and learns of default routes by asking the kernel
// which source address it would use.
package netmon
