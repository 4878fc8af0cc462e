// Package alert tells people what mail cannot tell them itself: that it runs on
// the second choice, that nobody takes it, that a password no longer works.
//
//	View ─conditions▶ what is so now ─ledger▶ events ─▶ log
//	                                            └────▶ command, webhook
//
// What is so is a pure function of one look at the gateway. The ledger makes
// news of it:
//
//	absent ─seen▶ open ─it lasted, or mail was met by it▶ news ─▶ told
//	   ▲            │          (a line in the log)        │    (at most one for each thing in
//	   └────────────┴──── no longer so: its end is ───────┘     `every`, and 20 in an hour)
//	                      told where its beginning was
//
// While the network is not what it should be, nothing is known of upstreams: what
// was so stays so, and nothing new begins.
package alert
