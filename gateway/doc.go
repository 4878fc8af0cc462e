// Package gateway reads the configuration, puts the parts together, and starts
// and stops them in order. Nothing is decided here.
//
//	store ─▶ health ─▶ dispatch ─▶ control socket ─▶ listeners      start
//	store ◀─ health ◀─ dispatch ◀─ control socket ◀─ listeners      stop
//
// The listeners come last and go first: mail is accepted only while everything
// that keeps and moves it is working.
package gateway
