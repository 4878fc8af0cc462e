// Package interop sends mail with the programs people use through the built
// gateway to a real Postfix, a real Exim and go-smtp, and compares every octet.
//
// What a client submitted is read off the wire, by a proxy between it and the
// gateway, so that mail which the client composes itself counts too. What
// arrived must end in exactly those octets; before them may stand only the
// fields the upstream adds and the block the gateway owes: one Received, and
// Date and Message-ID where they were missing.
//
// Other tests have both servers refuse, by access tables, ACLs, limits and a
// policy service, and hold that the mail arrives once by the second upstream, or
// bounces with a notice that Python reads, or waits, and that queue show and
// status say why.
package interop
