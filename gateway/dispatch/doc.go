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
// Route, Decide, Judge, File and Schedule are pure; the goroutines are the
// claim loop, one per open pass, and a broom for finished mail.
//
// Slots: an upstream carries at most `limits.connections` messages at a time,
// and dispatch alone counts them. A slot is taken by fresh mail from its filing
// on, by a claim for what it may bring, and by a pass until nothing is left but
// to write its result; a result that cannot be written takes it back. A full
// upstream means waiting, never the next one: being busy is no fault.
package dispatch
