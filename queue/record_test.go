package queue_test

import (
	"encoding/hex"
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

// oldRecord was written when records were of version 1.
const oldRecord = "0101000000000000000000000000000009067175657565640180f0e9a10d008080c58bc6d1010f616e6e406578616d706c652e636f6d540309313932" +
	"2e302e322e37066c6170746f70016201f8f0e9a10d0001a0a8eaa10d00017201620180f0e9a10d000180f0e9a10d000180f0e9a10d0006020f626f62" +
	"406578616d706c652e6f72670770656e64696e670301620180f0e9a10d0080e0ba84bf03020104776f726bcc0805352e372e31026e6f0180f0e9a10d" +
	"000204776f726b01620e6379406578616d706c652e6e65740964656c697665726564000000010180f0e9a10d0080a8d6b90704776f726b0165047263" +
	"7074046e657874cc0805352e372e31026e6f037768790301000104776f726b0180f0e9a10d00030104776f726bcc0805352e372e31026e6f0180f0e9" +
	"a10d00"

func TestOldRecord(t *testing.T) {
	b, err := hex.DecodeString(oldRecord)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 6, 1, 8, 0, 0, 0, time.UTC)
	no := queue.Answer{Upstream: "work", Code: 550, Enhanced: "5.7.1", Text: "no", At: at}
	// Of those that refused without saying whose fault it is only the names were kept.
	refused := func(by string) queue.Answer {
		return queue.Answer{Upstream: by, Code: 550, Text: "refused", Scope: "unknown"}
	}
	want := queue.Message{
		ID: queue.ID{0: 1, 15: 9}, State: queue.Queued, Accepted: at, Online: time.Hour,
		ReversePath: "ann@example.com", Size: 42, Content: queue.Content{EightBit: true}, Notice: true,
		Client: queue.Client{Addr: "192.0.2.7", Helo: "laptop"},
		Filing: queue.Filing{Lane: "b", Due: at.Add(time.Minute), Age: at.Add(time.Hour)},
		Held:   queue.Hold{Reason: "r", By: "b", Since: at}, Released: at, Ended: at, Tries: 3,
		Recipients: []queue.Recipient{
			{
				Address: "bob@example.org", State: queue.Pending, Last: no, Said: []queue.Answer{refused("work"), refused("b")},
				Doubt: &queue.Doubt{Upstream: "b", At: at, Online: time.Minute, Crash: true, Refused: 1},
			},
			{Address: "cy@example.net", State: queue.Delivered},
		},
		Attempts: []queue.Attempt{{
			At: at, Took: time.Second, Upstream: "work", Endpoint: "e", Stage: "rcpt", Verdict: "next",
			Code: 550, Enhanced: "5.7.1", Text: "no", Why: "why", Rcpts: []int{0}, Interrupted: true,
		}},
		Refusals: []queue.Refusal{{Upstream: "work", Until: at, Perm: true, Place: true, Answer: no}},
	}
	var got queue.Message
	if err := got.UnmarshalBinary(b); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\ngot  %+v\nwant %+v", err, got, want)
	}
}

func FuzzRecord(f *testing.F) {
	var m queue.Message
	n := 0
	fill(reflect.ValueOf(&m).Elem(), &n)
	full, _ := m.AppendBinary(nil)
	empty, _ := new(queue.Message).AppendBinary(nil)
	old, err := hex.DecodeString(oldRecord)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(full)
	f.Add(empty)
	f.Add(old)
	f.Fuzz(func(t *testing.T, b []byte) {
		var m queue.Message
		if m.UnmarshalBinary(b) != nil {
			return
		}
		again, err := m.AppendBinary(nil)
		switch {
		case err != nil:
			t.Fatal(err)
		case b[0] == 1: // an old record is written anew as it was understood
			var same queue.Message
			if err := same.UnmarshalBinary(again); err != nil || !reflect.DeepEqual(same, m) {
				t.Fatalf("%+v\nbecame\n%+v (%v)", m, same, err)
			}
		case string(again) != string(b): // it has one form only, so nothing was misread
			t.Fatalf("%x\nbecame\n%x", b, again)
		}
	})
}
