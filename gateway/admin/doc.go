// Package admin is the door for the person who runs a gateway: HTTP over the
// control socket. It is thin: the Server turns requests into calls of the
// store and of health, the Client turns calls into requests, and a Desk is
// what both have in common, so that the commands speak to a running gateway
// and to the store of a stopped one in the same words.
//
//	GET  /api/v1/status                  Status
//	GET  /api/v1/messages?SELECTION      queue.Message, one JSON object a line
//	GET  /api/v1/messages/{id}/body      the stored octets
//	POST /api/v1/messages/{verb}?SELECTION   queue.Affected
//
// A SELECTION is id=PART… from= to= state=… doubt= before= all=. A refused
// request is answered {"error":{…}} with a fitting status; a list that breaks
// off ends in such a line.
package admin
