// Package msa is the message submission agent (RFC 6409): it takes mail over
// SMTP, gives it a trace field and what else is missing, and puts it into the
// queue. A 250 to the final dot means that the queue has it durably.
//
// go-smtp's server runs the dialogue: the order of commands, the transaction,
// what is offered. It never touches the socket, and hears that there was a MAIL
// or RCPT but not what stood in it: paths and parameters are read here. Between
// them stands conn, which hands it one command line at a time, and each line
// only after the session's gate has read and allowed it:
//
//	socket ─▶ conn ──line──▶ session.gate ──checked line──▶ go-smtp ─▶ session.Mail, Rcpt, Data
//	           │ ◀─────────────replies, gathered until the next wait──────┘          │
//	           └──body, in slices──▶ filter ──▶ heading ──▶ queue.Draft ◀────────────┘
//
// So what the gate refuses never reaches the server, no octet of a body can
// ever be read as a command, and a connection that failed in the middle of
// anything never gives another octet. Bodies are read from the conn's buffer;
// BDAT is ours alone (chunks), and looks to go-smtp like DATA.
//
// Memory is bounded. An idle connection holds about 20 KiB, stack included. A
// session that takes a message adds 64 KiB for its body, a header of at most
// 256 KiB while it is looked through, and the 150 KiB at most that are kept of
// it, an envelope of at most Limits.MaxRecipients addresses of 512 octets with
// an ORCPT of 500 each, and what queue.Draft holds, 1 MiB at most. None of it
// grows with the message.
package msa
