// Package judgement shows with the built binary what becomes of mail that
// upstreams refuse, what people are told of it, and that it is remembered over a
// restart.
package judgement
