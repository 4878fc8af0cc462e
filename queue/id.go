package queue

import (
	"encoding/base32"
	"errors"
	"strings"

	"github.com/google/uuid"
)

// ID names a message. It is a UUIDv7 (RFC 9562 5.7), so IDs sort by the time
// they were made and need no engine to be unique.
type ID [16]byte

// crockford is the base32 alphabet without I, L, O and U: an ID read out over
// the telephone survives.
var crockford = base32.NewEncoding("0123456789ABCDEFGHJKMNPQRSTVWXYZ").WithPadding(base32.NoPadding)

// ErrBadID says that a text is no whole message ID.
var ErrBadID = errors.New("not a message ID")

// NewID makes an ID for a message accepted now.
func NewID() ID { return ID(uuid.Must(uuid.NewV7())) }

// String gives the 26 characters [0-9A-Z] that people see.
func (id ID) String() string { return crockford.EncodeToString(id[:]) }

// IsZero says that no message is meant.
func (id ID) IsZero() bool { return id == ID{} }

// ParseID reads a whole ID in either case, and forgives the letters that
// crockford leaves out.
func ParseID(s string) (ID, error) {
	s = strings.NewReplacer("I", "1", "L", "1", "O", "0").Replace(strings.ToUpper(s))
	b, err := crockford.DecodeString(s)
	if err != nil || len(b) != len(ID{}) {
		return ID{}, ErrBadID
	}
	return ID(b), nil
}

// MarshalText and UnmarshalText give IDs their short form in JSON.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) (err error) {
	*id, err = ParseID(string(b))
	return err
}
