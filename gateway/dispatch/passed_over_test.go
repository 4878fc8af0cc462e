package dispatch

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

func TestPassedOver(t *testing.T) {
	const ann = "ann@a.example"
	a, b, c := Route{Name: "a"}, Route{Name: "b"}, Route{Name: "c"}
	x, y := Route{Name: "x", Recipients: []string{"*.x.example"}}, Route{Name: "y", Recipients: []string{"@y.example"}}
	for name, tt := range map[string]struct {
		list  []Route
		by    []string // who refuses ann
		after time.Duration
		want  string
	}{
		"by the first":                  {[]Route{a, b, c}, []string{"a"}, 0, "a [b c]"},
		"by the first two":              {[]Route{a, b, c}, []string{"a", "b"}, 0, "a [c]"},
		"by the second":                 {[]Route{a, b}, []string{"b"}, 0, ""},
		"by all":                        {[]Route{a, b}, []string{"a", "b"}, 0, ""},
		"there is one only":             {[]Route{a}, []string{"a"}, 0, ""},
		"the first is not for ann":      {[]Route{{Name: "b", Senders: []string{"@b.example"}}, a, c}, []string{"a"}, 0, "a [c]"},
		"the second is not for ann":     {[]Route{a, {Name: "b", Senders: []string{"@b.example"}}}, []string{"a"}, 0, ""},
		"the next goes elsewhere":       {[]Route{x, y}, []string{"x"}, 0, ""},
		"the next but one goes there":   {[]Route{x, y, c}, []string{"x"}, 0, "x [c]"},
		"all that go there":             {[]Route{x, y, c}, []string{"x", "c"}, 0, ""},
		"the first goes elsewhere":      {[]Route{x, b, c}, []string{"b"}, 0, "b [c]"},
		"only one goes there":           {[]Route{x, b}, []string{"b"}, 0, ""},
		"it is due to be tried again":   {[]Route{a, b}, []string{"a"}, 2 * time.Hour, "a [b]"},
		"nothing was heard of it since": {[]Route{a, b}, []string{"a"}, 26 * time.Hour, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := New(Options{}, Config{Policy: Policy{Routes: NewRoutes(tt.list)}})
				for _, upstream := range tt.by {
					d.senders.refuse(upstream, ann, "553 no", time.Now())
					d.senders.refuse(upstream, "", "553 no", time.Now())
				}
				time.Sleep(tt.after)
				got := ""
				for _, p := range d.PassedOver() {
					got += fmt.Sprintf("%s %v", p.First, p.Others)
					if p.Sender != ann || p.Why != "553 no" {
						t.Errorf("%+v", p)
					}
				}
				if got != tt.want {
					t.Errorf("got %q, want %q", got, tt.want)
				}
				d.Roamed()
				if got := d.PassedOver(); len(got) > 0 {
					t.Errorf("in another network: %+v", got)
				}
			})
		})
	}
}
