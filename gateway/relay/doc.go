// Package relay speaks to one upstream: it connects, proves who answers, logs
// in, hands over a message and judges the replies. It imports nothing of ours;
// what it learned comes back as one Result.
//
//	            ┌──────────── connect: each endpoint in turn ───────────┐
//	Deliver ─▶ DNS ─▶ TCP ─▶ (TLS) ─▶ 220 ─▶ EHLO ─▶ (STARTTLS ─▶ EHLO) ─▶ (AUTH) ─▶ ready
//	   │                                                                            │
//	   └─ a kept session, if it looks alive ───────────────────────────────────────▶│
//	                                                                                ▼
//	   pool ◀── complete ending ◀── reply ◀── dot ◀── BeforeDot ◀── body ◀── MAIL RCPT… DATA
//	 close ◀── anything else
//
// Three lines divide a delivery. Before the reply to MAIL nothing is known
// about the message: GiveUp ends the wait, and a kept session that has died is
// replaced. Before the first octet of the final dot nothing has been taken, so
// ctx may cut at any time. After it the answer alone tells what happened; a
// session lost there leaves its recipients in doubt.
//
// A session goes back to the pool only from a state that both sides agree on.
// After an early or odd reply, or a body that stopped half way, it is closed
// without another word: a word could be taken for the rest of the message.
package relay
