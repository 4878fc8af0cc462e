// Package netmon knows what this machine's network looks like and notices when
// it changes. It knows nothing of who wants to be told.
package netmon
