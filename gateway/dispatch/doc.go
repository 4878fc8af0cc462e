// Package dispatch decides where each message goes next and sees it there: it
// claims from the queue for its free slots, takes a message to the upstreams
// of its lane in order, judges what each said, and settles.
//
//	          ┌──────────── slot free, upstream usable, mail due, age ───────────┐
//	          ▼                                                                  │
//	claim ─▶ Decide ─▶ pass: for each usable upstream ─▶ Judge ─▶ File ─▶ Settle ┘
//	          │                                                     ▲
//	          └─ too old, doubt over, lane unknown ─────────────────┘
//
// A recipient fails when two upstreams refuse it for good without saying whose
// fault it is, or all whose own limits it breaks (opinion). Where all refuse it
// for its sender or by policy, the message is barred: it waits for a change, is
// shown to them seldom, and goes back after a while of time online. What is an
// upstream's own trouble never ends anything.
//
// Route, Decide, Judge, File and Schedule are pure; the goroutines are the
// claim loop, one that wakes it when an upstream's state changes, one per open
// pass (a trip) and one per delivery (a leg) or hedge in it, a broom for
// finished mail, and one that files anew what a change of the network sets
// free.
//
// A hedge gets the next upstream ready while the one that is asked gives no
// sign of life. The message goes to whichever can begin first, at once and for
// good, so its body is never on two ways:
//
//	pass ─▶ leg at A ─── quiet ──────────────── ready for MAIL's recipients ─▶ body
//	                       └─▶ hedge at B ─ ready ─▶ A is suspect, and B is asked next
//	                                                 A's leg ends by itself, in its slot
//
// Mail in doubt is not hedged. One hedge an upstream at a time is enough: its
// outcome makes A suspect, and all that is stuck there moves on by that.
//
// Slots: an upstream carries at most `limits.connections` messages at a time,
// and dispatch alone counts them. A slot is taken by fresh mail from its filing
// on, by a claim for what it may bring, by a hedge, and by a pass until nothing
// is left but to write its result; a result that cannot be written takes it
// back. A leg that was passed over keeps its slot until it has ended. A full
// upstream means waiting, never the next one: being busy is no fault.
//
// Who gets a slot first is a matter of fairness (fair.go): senders take turns, and
// bulk leaves something of a budget to those who write seldom.
//
// Another network is another matter: what was refused for where we were is
// forgotten with each major change, and a delivery whose way was lost before
// the dot begins anew, at nobody's expense.
package dispatch
