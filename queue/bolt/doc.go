// Package bolt is the embedded store: one bbolt file that keeps mail through
// kill, power cut and full disk, and needs nothing installed.
//
// All writing is done by one goroutine. It takes whatever was asked for while
// its last commit ran and commits it as one transaction, so the two syncs of a
// commit are shared by all who wait (group commit). Each request says in its
// transaction whether it can be done before it changes anything; a refused one
// never fails its neighbours.
//
//	meta    schema, session             last session number
//	env     id                          an unfinished message without its body
//	past    id                          a finished one
//	body    id / chunk number           at most 64 KiB each; gone when finished
//	stage   id / chunk number           bodies still arriving
//	due     lane 0 time id              the queued messages, as claims want them
//	age     time id                     the same, for what the clock does to them
//	lease   id                          who sends it, to whom, and what is known so far
//	held    id                          those that wait for a person
//	done    time id                     the finished ones, for forgetting them
//	quarantine id                       records that could not be read
//
// A message is in exactly one of due, lease, held and done. A claim writes its
// lease and never the message; so a leased message is recorded as queued or
// not recorded as due, and the lease decides.
//
// What is leased is kept in memory too, as are the counts of Stats: both are
// changed only by what has been committed.
package bolt
