package dispatch

import "mailroam/queue"

// firstChoice is the upstream that is preferred for m to recipient i, "" when
// none may carry it.
func (rs Routes) firstChoice(m *queue.Message, i int) string {
	for k := range rs.list {
		if r := &rs.list[k]; rs.bar(m, i, r) == (bar{}) {
			return r.Name
		}
	}
	return ""
}

// passed tells of each first choice that the message left without. Notices,
// which may go anywhere, have no first choice.
func (l *leg) passed(j Judgement) {
	m := l.try.Message
	if l.d.Passed == nil || m.ReversePath == "" {
		return
	}
	told := ""
	for _, r := range j.Results {
		if r.State != queue.Delivered {
			continue
		}
		if first := l.config.Routes.firstChoice(m, r.Index); first != "" && first != l.try.Upstream && first != told {
			told = first
			l.d.Passed(first)
		}
	}
}
