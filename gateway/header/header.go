// Package header reads and rewrites the header section of a message (RFC 5322
// 2.2): its fields, each line ending in CRLF, without the empty line after them.
// It is pure, believes nothing, and passes over what is no field.
package header

// Facts are what a header section says of its message.
type Facts struct {
	Authors   []string // addresses of From (RFC 5322 3.6.2), nil when there is none that can be read
	MessageID string   // without its brackets, "" when there is none
	UTF8      bool     // it holds octets beyond ASCII (RFC 6532)
	// Automatic: a program made it, and nobody reads an answer (RFC 3834;
	// Precedence: bulk, junk or list).
	Automatic bool
}

// Read gathers the facts of a header section.
func Read(section []byte) Facts { return Facts{} }
