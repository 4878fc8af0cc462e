package queue

import (
	"slices"
	"strings"
	"time"
)

// Filter selects messages; its zero value selects every unfinished one. All
// set fields must match. The same Filter serves listing and acting.
type Filter struct {
	IDs       []ID      `json:"ids,omitempty"`
	States    []State   `json:"states,omitempty"`     // nil: queued, leased, held
	Doubt     bool      `json:"doubt,omitempty"`      // only mail in doubt
	From      string    `json:"from,omitempty"`       // part of the reverse-path, any case; "<>" is the null one
	To        string    `json:"to,omitempty"`         // part of a recipient's address, any case
	MessageID string    `json:"message_id,omitempty"` // part of the Message-ID, any case
	Before    time.Time `json:"before,omitzero"`      // accepted before; for Done alone: ended before
	Limit     int       `json:"limit,omitempty"`      // 0: no limit
}

// Match says whether m is selected.
func (f Filter) Match(m *Message) bool {
	if len(f.IDs) > 0 && !slices.Contains(f.IDs, m.ID) {
		return false
	}
	if f.States == nil && m.State == Done || f.States != nil && !slices.Contains(f.States, m.State) {
		return false
	}
	if f.Doubt && m.InDoubt() == "" {
		return false
	}
	if f.From == "<>" && m.ReversePath != "" || f.From != "<>" && !containsFold(m.ReversePath, f.From) {
		return false
	}
	if f.To != "" && !slices.ContainsFunc(m.Recipients, func(r Recipient) bool { return containsFold(r.Address, f.To) }) {
		return false
	}
	if !containsFold(m.MessageID, f.MessageID) {
		return false
	}
	if !f.Before.IsZero() {
		at := m.Accepted
		if m.State == Done {
			at = m.Ended
		}
		if !at.Before(f.Before) {
			return false
		}
	}
	return true
}

func containsFold(s, part string) bool {
	return part == "" || strings.Contains(strings.ToLower(s), strings.ToLower(part))
}
