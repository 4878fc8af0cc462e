package admin

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"mailroam/queue"
)

// Errors about what was asked for. ErrNotFound and ErrAmbiguous come in an
// *IDError.
var (
	ErrNotFound  = errors.New("no such message")
	ErrAmbiguous = errors.New("more than one message")
	ErrNoneMeant = errors.New("no message is named")
)

// IDError says which part of an ID did not name one message.
type IDError struct {
	Part       string
	Candidates []queue.Message // those an ambiguous part could mean, at most MaxCandidates
	Err        error           // ErrNotFound or ErrAmbiguous
}

// MaxCandidates bounds the list in an IDError.
const MaxCandidates = 10

func (e *IDError) Error() string {
	return fmt.Sprintf("%q: %v", e.Part, e.Err)
}

func (e *IDError) Unwrap() error { return e.Err }

// Selection is the one filter of all queue commands. All set fields must
// match; its zero value selects every unfinished message, and acts on none.
type Selection struct {
	IDs       []string // any unambiguous parts of IDs
	All       bool     // says that every message is really meant
	From      string   // part of the reverse-path, "<>" for the null one
	To        string   // part of a recipient's address
	MessageID string   // part of the Message-ID
	States    []queue.State
	Doubt     bool // only mail in doubt
	Before    time.Time
}

// Narrow says that something was asked for beyond "all".
func (s Selection) Narrow() bool {
	return len(s.IDs) > 0 || s.From != "" || s.To != "" || s.MessageID != "" || len(s.States) > 0 || s.Doubt || !s.Before.IsZero()
}

func (s Selection) query() url.Values {
	q := url.Values{}
	set := func(key, value string) {
		if value != "" {
			q.Add(key, value)
		}
	}
	for _, id := range s.IDs {
		q.Add("id", id) // an empty part is refused, not forgotten
	}
	for _, state := range s.States {
		q.Add("state", string(state))
	}
	set("from", s.From)
	set("to", s.To)
	set("message_id", s.MessageID)
	if s.All {
		set("all", "true")
	}
	if s.Doubt {
		set("doubt", "true")
	}
	if !s.Before.IsZero() {
		set("before", s.Before.UTC().Format(time.RFC3339Nano))
	}
	return q
}

// parseSelection reads what query wrote. A key it does not know is an error:
// a filter that is silently dropped would act on mail nobody meant.
func parseSelection(q url.Values) (s Selection, err error) {
	for key, values := range q {
		value := values[len(values)-1]
		switch key {
		case "id":
			s.IDs = values
		case "state":
			for _, v := range values {
				s.States = append(s.States, queue.State(v))
			}
		case "from":
			s.From = value
		case "to":
			s.To = value
		case "message_id":
			s.MessageID = value
		case "all":
			s.All, err = strconv.ParseBool(value)
		case "doubt":
			s.Doubt, err = strconv.ParseBool(value)
		case "before":
			s.Before, err = time.Parse(time.RFC3339Nano, value)
		default:
			err = errors.New("unknown")
		}
		if err != nil {
			return Selection{}, fmt.Errorf("the parameter %q: %w", key, err)
		}
	}
	for _, state := range s.States {
		if !slices.Contains(allStates, state) {
			return Selection{}, fmt.Errorf("there is no state %q", state)
		}
	}
	return s, nil
}

var allStates = []queue.State{queue.Queued, queue.Leased, queue.Held, queue.Done}

// resolve turns a selection into the store's filter, parts of IDs into IDs.
func resolve(ctx context.Context, store queue.Store, s Selection) (queue.Filter, error) {
	f := queue.Filter{States: s.States, Doubt: s.Doubt, From: s.From, To: s.To, MessageID: s.MessageID, Before: s.Before}
	if len(s.IDs) == 0 {
		return f, nil
	}
	for _, part := range s.IDs {
		m, err := find(ctx, store, part)
		if err != nil {
			return f, err
		}
		if !slices.Contains(f.IDs, m.ID) {
			f.IDs = append(f.IDs, m.ID)
		}
	}
	// Whoever names a message means it in whatever state it is.
	if f.States == nil {
		f.States = allStates
	}
	return f, nil
}

// forgiving reads the letters that IDs leave out as queue.ParseID does.
var forgiving = strings.NewReplacer("I", "1", "L", "1", "O", "0")

// find looks among unfinished mail first: the finished is looked up far less
// often, and must not make the part of an ID ambiguous.
func find(ctx context.Context, store queue.Store, part string) (queue.Message, error) {
	if id, err := queue.ParseID(part); err == nil {
		m, err := store.Get(ctx, id)
		if errors.Is(err, queue.ErrNotFound) {
			return m, &IDError{Part: part, Err: ErrNotFound}
		}
		return m, err
	}
	want := forgiving.Replace(strings.ToUpper(part))
	if want == "" {
		return queue.Message{}, &IDError{Part: part, Err: ErrNotFound}
	}
	for _, states := range [][]queue.State{nil, {queue.Done}} {
		var hits []queue.Message
		for m, err := range store.List(ctx, queue.Filter{States: states}) {
			if err != nil {
				return m, err
			}
			if strings.Contains(m.ID.String(), want) && len(hits) < MaxCandidates {
				hits = append(hits, m)
			}
		}
		switch len(hits) {
		case 0:
		case 1:
			return hits[0], nil
		default:
			return queue.Message{}, &IDError{Part: part, Candidates: hits, Err: ErrAmbiguous}
		}
	}
	return queue.Message{}, &IDError{Part: part, Err: ErrNotFound}
}
