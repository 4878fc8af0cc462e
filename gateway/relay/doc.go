// Package relay speaks to one upstream: it connects, proves who answers, logs
// in, hands over a message and judges the replies. It imports nothing of ours;
// what it learned comes back as one Result.
package relay
