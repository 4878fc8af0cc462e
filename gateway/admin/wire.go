package admin

import (
	"errors"
	"net/http"

	"mailroam/queue"
)

// wireError is an error as it travels: Kind lets the client give back the
// same one.
type wireError struct {
	Kind       string          `json:"kind"`
	Text       string          `json:"text"`
	Part       string          `json:"part,omitempty"`
	Candidates []queue.Message `json:"candidates,omitempty"`
}

// kinds are the errors that callers decide by, and the status of each.
var kinds = []struct {
	name   string
	err    error
	status int
}{
	{"not-found", ErrNotFound, http.StatusNotFound},
	{"ambiguous", ErrAmbiguous, http.StatusConflict},
	{"none-meant", ErrNoneMeant, http.StatusBadRequest},
	{"no-such-message", queue.ErrNotFound, http.StatusNotFound},
	{"full", queue.ErrFull, http.StatusInsufficientStorage},
	{"poisoned", queue.ErrPoisoned, http.StatusInternalServerError},
	{"corrupt", queue.ErrCorrupt, http.StatusInternalServerError},
	{"closed", queue.ErrClosed, http.StatusServiceUnavailable},
}

func toWire(err error) (wireError, int) {
	w := wireError{Kind: "other", Text: queue.Printable(err.Error(), 2000)}
	status := http.StatusInternalServerError
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			w.Kind, status = k.name, k.status
			break
		}
	}
	if id, ok := errors.AsType[*IDError](err); ok {
		w.Part, w.Candidates = id.Part, id.Candidates
	}
	return w, status
}

// fromWire gives back an error that Is and As what it was, with its text.
func fromWire(w wireError) error {
	for _, k := range kinds {
		if k.name != w.Kind {
			continue
		}
		if k.err == ErrNotFound || k.err == ErrAmbiguous {
			return &IDError{Part: w.Part, Candidates: w.Candidates, Err: k.err}
		}
		return &remoteError{text: w.Text, err: k.err}
	}
	return &remoteError{text: w.Text}
}

// remoteError is what went wrong in the gateway.
type remoteError struct {
	text string
	err  error
}

func (e *remoteError) Error() string { return e.text }
func (e *remoteError) Unwrap() error { return e.err }
