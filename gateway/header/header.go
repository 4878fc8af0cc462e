// Package header reads and rewrites the header section of a message (RFC 5322
// 2.2): its fields, each line ending in CRLF, without the empty line after them.
// It is pure, believes nothing, and passes over what is no field.
package header
