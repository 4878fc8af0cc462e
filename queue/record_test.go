package queue_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"mailroam/queue"
)

// fill sets every field that v can reach, so that a field somebody adds later
// and forgets to encode is found.
func fill(v reflect.Value, n *int) {
	*n++
	switch {
	case v.Type() == reflect.TypeFor[time.Time]():
		v.Set(reflect.ValueOf(time.Unix(int64(1e9+*n), int64(*n)).UTC()))
		return
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			fill(v.Field(i), n)
		}
	case v.Kind() == reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		fill(v.Index(0), n)
		fill(v.Index(1), n)
	case v.Kind() == reflect.Array:
		for i := range v.Len() {
			fill(v.Index(i), n)
		}
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), n)
	case v.Kind() == reflect.String:
		v.SetString(fmt.Sprint("text ", *n))
	case v.Kind() == reflect.Bool:
		v.SetBool(true)
	case v.CanInt():
		v.SetInt(int64(*n))
	case v.CanUint():
		v.SetUint(uint64(*n % 256))
	default:
		panic("what is a " + v.Type().String())
	}
}

func roundTrip(t *testing.T, m queue.Message) {
	t.Helper()
	b, err := m.AppendBinary(nil)
	if err != nil {
		t.Fatal(err)
	}
	var got queue.Message
	if err := got.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, m) {
		t.Errorf("got  %+v\nwant %+v", got, m)
	}
	for i := range b {
		if err := new(queue.Message).UnmarshalBinary(b[:i]); err == nil {
			t.Fatalf("the first %d of %d octets passed for a record", i, len(b))
		}
	}
	if err := new(queue.Message).UnmarshalBinary(append(b, 0)); err == nil {
		t.Error("an octet too many passed")
	}
	b[0]++
	if err := new(queue.Message).UnmarshalBinary(b); err == nil {
		t.Error("another version passed")
	}
}

func TestRecordKeepsEveryField(t *testing.T) {
	var m queue.Message
	n := 0
	fill(reflect.ValueOf(&m).Elem(), &n)
	roundTrip(t, m)
}

func TestRecordEdges(t *testing.T) {
	roundTrip(t, queue.Message{})
	roundTrip(t, queue.Message{
		Accepted: time.Date(9999, 12, 31, 23, 59, 59, 999999999, time.UTC),
		Ended:    time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC), // one nanosecond after the zero time
		Online:   -1, Size: 1<<63 - 1,
		Attempts:   []queue.Attempt{{Rcpts: []int{}}, {Rcpts: nil}, {Rcpts: []int{-1, 1 << 40}}},
		Recipients: []queue.Recipient{{Address: "\xff\x00", Doubt: &queue.Doubt{}, Last: queue.Answer{Code: -1}}},
	})
}

// A time in another zone, or with a monotonic reading, is the same time.
func TestRecordTimes(t *testing.T) {
	now := time.Now().In(time.FixedZone("there", 3600))
	m := queue.Message{Accepted: now, Recipients: []queue.Recipient{{Last: queue.Answer{At: time.Time{}.In(time.FixedZone("there", 3600))}}}}
	b, _ := m.AppendBinary(nil)
	var got queue.Message
	if err := got.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	if !got.Accepted.Equal(now) || got.Accepted.Location() != time.UTC {
		t.Errorf("got %v, want %v in UTC", got.Accepted, now)
	}
}

func FuzzRecord(f *testing.F) {
	var m queue.Message
	n := 0
	fill(reflect.ValueOf(&m).Elem(), &n)
	full, _ := m.AppendBinary(nil)
	empty, _ := new(queue.Message).AppendBinary(nil)
	f.Add(full)
	f.Add(empty)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m queue.Message
		if m.UnmarshalBinary(b) != nil {
			return
		}
		// Whatever is accepted has one form only, so nothing was misread.
		again, err := m.AppendBinary(nil)
		if err != nil || string(again) != string(b) {
			t.Fatalf("%x\nbecame\n%x (%v)", b, again, err)
		}
	})
}
