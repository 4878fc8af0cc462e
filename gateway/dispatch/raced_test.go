//go:build race

package dispatch

// manyWait is how many wait in tests of fairness: the race detector makes a
// hundred thousand a matter of minutes.
const manyWait = 10_000
