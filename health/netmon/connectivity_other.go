//go:build !linux

package netmon

import "context"

// AskNetworkManager has nobody to ask here.
func AskNetworkManager(context.Context) Connectivity { return ConnUnknown }
