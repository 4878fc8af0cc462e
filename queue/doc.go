// Package queue holds what every store of mail must mean: the message, its
// recipients, its attempts, the Store interface, and the pure rules that move
// a message from one state to the next. It knows no engine and no SMTP;
// upstream names and lanes are opaque strings to it.
//
//	      Commit             Claim                       Settle: some recipient pending
//	────▶ queued(due) ─────▶ leased(session,epoch) ─────────────────────────────▶ queued(due, lane)
//	        ▲  │ hold          │ └─────────────────────────────────────────────▶ done   none pending (+ notices, same transaction)
//	release │  ▼               │
//	        held               └─▶ Requeue (untouched), or the next Join after a crash: queued in the empty lane, attempt interrupted
//
//	recipient: pending ─▶ delivered | failed | expired | dropped
//
// A pending recipient may be in doubt at an upstream: the connection was lost
// after the final dot, or the process died in an open pass, so that upstream
// may already hold a copy. A settled recipient is never offered again.
//
// A lane is the ordered list of upstreams that can take a message's next step,
// as one string that only dispatch can read. Claims are made lane by lane, so
// a lane whose upstreams are all out of order is simply left out and no row is
// touched. The empty lane, and any lane the claimer no longer knows, holds
// mail that must be filed anew before it is sent.
//
// The lease is the write-ahead record of a pass: it names the upstream whose
// dot may be sent next. After a crash the recipients without a stored result
// are in doubt at exactly that upstream.
package queue
