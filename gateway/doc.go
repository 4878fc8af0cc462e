// Package gateway reads the configuration, puts the parts together, and starts
// and stops them in order. Nothing is decided here but what the findings of a
// probe mean to a person.
//
//	store ─▶ network ─▶ health ─▶ dispatch ─▶ alerts ─▶ control socket ─▶ listeners      start
//	store ◀─ network ◀─ health ◀─ dispatch ◀─ alerts ◀─ control socket ◀─ listeners      stop
//
// A change of the network is told to the clients of the upstreams, then to
// health, then to dispatch.
//
// The listeners come last and go first: mail is accepted only while everything
// that keeps and moves it is working.
package gateway
