// Package health keeps, for each upstream, whether it can be used now. It
// knows no SMTP: it is told faults and is given a probe to call.
//
// An upstream is usable when two machines agree. Reach is about getting there;
// probes and deliveries move it:
//
//	unknown ─pass▶ up ─probe fails▶ suspect ─probe fails▶ down ─pass▶ up
//	unknown ─probe fails▶ suspect ─pass▶ up
//	a delivery's network or identity fault ▶ down, at once
//
// After down an upstream takes waiting mail on its first pass, but owes some
// more until it is preferred again. The breaker is about being served; only
// deliveries move it, and no probe clears it:
//
//	closed ─failure▶ open(until) ─time▶ trial(one delivery) ─served▶ closed
//	                   ▲──── failed: the cool-down grows ────┘
//
// Opposite results reset what was counted. What was cancelled counts neither
// way. Every observation carries the generation it began in, and one of an
// older generation is dropped: it speaks of a state that is over.
//
// The decisions (tracker, breaker, pace) are pure functions of what is known,
// what was seen and now; Monitor is the loop round them. Deadlines are
// wall-clock times, looked at again every few seconds, so that a machine that
// slept wakes up with them due.
package health
