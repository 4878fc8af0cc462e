//go:build !race

package dispatch

const manyWait = 100_000
