//go:build !linux

package relay

// evidence is none here.
func (w *wire) evidence() evidence { return inDoubt }
