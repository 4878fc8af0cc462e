// Package health keeps, for each upstream, whether it can be used now. It
// knows no SMTP: it is told faults and is given a probe to call.
package health
