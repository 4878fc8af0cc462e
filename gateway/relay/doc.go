// Package relay speaks to one upstream: it connects, proves who answers, logs
// in, hands over a message and judges the replies. It imports nothing of ours;
// what it learned comes back as one Result.
//
//	            ┌──────── race: addresses, then endpoints, side by side ────────┐
//	            │             ┌▶ TCP ─▶ (TLS) ─▶ 220 ─▶ EHLO ─▶ (STARTTLS ─▶ EHLO) ─┐
//	Deliver ─▶ DNS, or memory ┼▶ TCP ─▶ …                                            ├ the first ─▶ (AUTH) ─▶ ready
//	   │                      └▶ … (a stagger later each)                            ┘                          │
//	   └─ a kept session, if it looks alive ───────────────────────────────────────────────────────────────────▶│
//	                                                                                                            ▼
//	        pool ◀── complete ending ◀── reply ◀── dot ◀── BeforeDot ◀── body ◀── Begin ◀── MAIL RCPT… DATA
//	      close ◀── anything else
//
// Three lines divide a delivery. Before the reply to MAIL nothing is known
// about the message: GiveUp ends the wait, silence is told of, and a kept
// session that has died is replaced. At that reply Begin says whether the body
// goes here at all. Before the first octet of the final dot nothing has been
// taken, so ctx may cut at any time. After it the answer alone tells what
// happened; a session lost there leaves its recipients in doubt, unless the
// kernel knows that the dot never left.
//
// One login at a time goes to an upstream, and what it was told is told to all
// who had set out before. What an upstream announced, and what it refused since,
// is remembered: parameters, sizes, recipients at a time, messages a session.
//
// A session goes back to the pool only from a state that both sides agree on.
// After an early or odd reply, or a body that stopped half way, it is closed
// without another word: a word could be taken for the rest of the message.
//
// Whatever is set up or kept sits on a roster with the way it goes by. When the
// network changes, Roam cuts what has no way yet or another one than before:
//
//	dialling ──▶ open ◀──▶ logging in           cut by Roam: dialling always, open when its way is
//	               ◀─────▶ past the dot         another one, logging in when it is gone, past the dot never
//
// The roster also holds what is known of the network we are in: which endpoint
// and family won, and how silent the upstream is when all is well.
package relay
