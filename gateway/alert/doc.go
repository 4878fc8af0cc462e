// Package alert tells people what mail cannot tell them itself: that it runs on
// the second choice, that nobody takes it, that a password no longer works.
package alert
