// Package sink is a practice upstream: an SMTP server that takes mail and
// forgets it, keeps it in memory or files it in a Maildir, and that misbehaves
// on request at any stage. It serves the commands sink and demo, and it is the
// other end in tests. It must never face the Internet: it relays nothing, but
// it also refuses nothing that it was not told to refuse.
//
//	greeting ─▶ ehlo ─▶ starttls ─▶ tls ─▶ ehlo ─▶ auth ─▶ mail ─▶ rcpt… ─▶ data ─▶ body ─▶ dot ─▶ (mail | quit)
//
// A [Fault] names a stage and the steps to take there instead of the normal
// reply. [Network] and [Pipe] are TCP without a kernel, with buffers, resets
// and deadlines, so that testing/synctest can own the time.
package sink
