// Package health keeps, for each upstream, whether it can be used now, and of
// the network, whether it is to blame. It knows no SMTP: it is told faults and
// changes of the network, and is given a probe to call.
//
// An upstream is usable when a route leads to it, two machines agree and its
// budget is not used up. Reach
// is about getting there; probes and deliveries move it:
//
//	unknown ─pass▶ up ─probe fails, or quiet▶ suspect ─probe fails▶ down ─pass▶ up
//	unknown ─probe fails, or quiet▶ suspect ─pass▶ up
//	a delivery's network or identity fault ▶ down, at once
//	any ─another network▶ unknown
//
// Where deliveries fail again and again in what probes pass, the breaker opens.
//
// After down an upstream takes waiting mail on its first pass, but owes some
// more, and perhaps time (Failback), until it is preferred again. The breaker
// is about being served; only deliveries move it, and no probe clears it:
//
//	closed ─failure▶ open(until) ─time▶ trial(one delivery) ─served▶ closed
//	                   ▲──── failed: the cool-down grows ────┘
//	open, for a session or the place we were in ─another network▶ closed
//
// The budget is what the operator lets it take in any minute, hour and day; it is
// set aside when a delivery begins and spent when it ends:
//
//	some is left ─the last is spent▶ limited ─a tenth is free▶ some is left
//
// How many deliveries may be under way is bounded, too, after an outage (easing)
// and where more were refused (fewer). That makes it no less usable: they wait.
//
// Opposite results reset what was counted. What was cancelled counts neither
// way. Every observation carries the generation it began in, which another
// network raises. One of an older generation is dropped, since it speaks of a
// state that is over, but for what was told about the account, its quota or a
// policy: that holds anywhere.
//
// The network has a state of its own (Outlook). That no route leads to any
// upstream is certain, and then nothing is probed until Monitor.Network tells
// of a change. The others are inferred from what each upstream showed last in
// this network, so they may be wrong, and probes go on until one passes:
//
//	         ─no route to any upstream▶ offline ─a route▶ online
//	online ──┼─nobody answers, and it is not they▶ unreachable ─┐
//	  ▲      ├─somebody else answers in their place▶ portal ────┤
//	  │      └─all certificates are of another time▶ clock ─────┤
//	  └──────────────── one upstream answers ───────────────────┘
//
// In all but online time stands still, and when an inferred one ends, what
// failed through it is forgiven. Without a reason to blame the network, faults
// are charged to the upstreams.
//
// The decisions (tracker, breaker, easing, pace, infer, routed) are pure functions of
// what is known, what was seen and now; Monitor is the loop round them.
// Deadlines are wall-clock times, looked at again every few seconds, so that a
// machine that slept wakes up with them due.
package health
