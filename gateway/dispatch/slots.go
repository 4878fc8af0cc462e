package dispatch

import "mailroam/health"

// slots counts what each upstream carries.
type slots map[string]int

// slot is one of an upstream's that is taken or, where upstream is "", one of
// those for claims that send nothing.
type slot struct {
	d        *Dispatcher
	upstream string
	asking   bool // it is counted in begun
	back     bool // it was given back
}

// take takes a slot, free or not. The caller holds d.mu.
func (d *Dispatcher) take(upstream string) *slot {
	d.slots[upstream]++
	return &slot{d: d, upstream: upstream}
}

// ask counts as asking the upstream from now on, in the network of now.
func (s *slot) ask() (era int) {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.d.begun[s.upstream]++
	s.asking = true
	return s.d.era
}

// leave gives the slot back, once.
func (s *slot) leave() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	s.giveBack()
}

// giveBack is leave for a caller that holds d.mu.
func (s *slot) giveBack() {
	if s.back {
		return
	}
	s.back = true
	if s.upstream == "" {
		s.d.filing--
		if s.d.filing == maxFiling-1 {
			s.d.wake()
		}
		return
	}
	if s.asking {
		s.d.begun[s.upstream]--
		s.asking = false
	}
	s.d.release(s.upstream)
}

// stay takes the slot again, free or not.
func (s *slot) stay() {
	s.d.mu.Lock()
	defer s.d.mu.Unlock()
	switch {
	case !s.back:
		return
	case s.upstream == "":
		s.d.filing++
	default:
		s.d.slots[s.upstream]++
	}
	s.back = false
}

// first is the upstream a claim of a lane would name: the best standing, in
// order of preference. Being full does not matter here. The caller holds d.mu.
func (d *Dispatcher) first(names []string) string {
	best, rank := "", health.Unusable
	for _, n := range names {
		if r := d.Health.Standing(n).Rank; r > rank {
			best, rank = n, r
		}
	}
	return best
}

// free counts the messages an upstream can take now: no more than it is trusted
// with at a time, and than its budget has recipients for. On trial it takes one.
// Those that begin later count as begun. The caller holds d.mu.
func (d *Dispatcher) free(name string) int {
	s, slots, taken := d.Health.Standing(name), d.config.Upstreams[name].Slots, d.slots[name]
	if s.AtOnce > 0 {
		slots = min(slots, s.AtOnce)
	}
	n := slots - taken
	if s.Trial {
		n = min(n, 1-(taken-d.begun[name]))
	}
	if s.Room > 0 {
		n = min(n, s.Room-(taken-d.begun[name]))
	}
	return n
}

// release frees a slot. The caller holds d.mu.
func (d *Dispatcher) release(upstream string) {
	full := d.free(upstream) <= 0
	d.slots[upstream]--
	// What was free a moment ago may have been so for this delivery's end alone.
	if room := d.Health.Standing(upstream).Room; full || room > 0 && room < d.config.Upstreams[upstream].Slots {
		d.wake()
	}
}
