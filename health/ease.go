package health

import "time"

// easing lets an upstream that was out of order be used little by little: a
// server that just came back is not met by all that waited for it, and what is
// wrong still is found out by few. Its zero value is that it is used at will.
type easing struct {
	most   int // deliveries at a time
	beside int // those that were under way already and wait for their answers
	// began is when the first of them did.
	began time.Time
}

const (
	easeEnds  = 32               // from here on as many as there are connections
	easeRound = 12 * time.Second // even if none has ended by then: a large message must not hold up the others
)

// begin notes the first delivery.
func (e easing) begin(now time.Time) easing {
	if e.most > 0 && e.began.IsZero() {
		e.began = now
	}
	return e
}

// served lets one more begin for each that went well: 1, 2, 4, …
func (e easing) served() easing {
	if e.most == 0 {
		return e
	}
	if e.most++; e.most >= easeEnds {
		return easing{}
	}
	return e
}

// limit is how many deliveries there may be at a time, 0 for any number. A
// minute without a failure lifts it.
func (e easing) limit(now time.Time) int {
	switch {
	case e.most == 0:
		return 0
	case e.began.IsZero():
		return e.most + e.beside
	}
	rounds := max(0, now.Sub(e.began)/easeRound)
	if rounds >= 5 {
		return 0
	}
	return max(e.most, 1<<rounds) + e.beside
}

// fewer is how many connections at a time an upstream was seen to take. Its zero
// value is that it never said.
type fewer struct {
	AtOnce int       `json:"at_once"`
	Since  time.Time `json:"since"`
}

// fewerFor is how long that is believed. Until then one more is tried every
// hour: the others may have been somebody else's.
const fewerFor = 24 * time.Hour

func (f fewer) limit(now time.Time) int {
	age := max(0, now.Sub(f.Since))
	if f.AtOnce == 0 || age >= fewerFor {
		return 0
	}
	return f.AtOnce + int(age/time.Hour)
}

// refused is after one of so many at a time was too many. Those that are refused
// together end one by one, so the last of them finds the number. Where none is
// left, that is no number of ours: others have them all, or the server is about
// to restart. What it takes is found out anew when it takes some.
func (f fewer) refused(underWay int, now time.Time) fewer {
	if underWay <= 1 {
		return fewer{}
	}
	return fewer{fewest(underWay-1, f.limit(now)), now}
}

// fewest is the lesser of two limits, of which 0 is none.
func fewest(a, b int) int {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}
