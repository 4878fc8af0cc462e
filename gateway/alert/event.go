package alert

import "time"

// Event is what people are told: that something is so, or is no longer.
type Event struct {
	Kind     string    `json:"event"`
	Upstream string    `json:"upstream"` // several are joined by commas; "" when it is about none
	Text     string    `json:"text"`     // what it means and what to do; escaped, without secrets
	Since    time.Time `json:"since"`    // when it began, also for its end
	Ended    bool      `json:"ended"`

	key key // the same for a beginning and its end
}
