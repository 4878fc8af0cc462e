package netmon

// Connectivity is what NetworkManager thinks of the network.
type Connectivity string

// What NetworkManager can say.
const (
	ConnUnknown Connectivity = ""
	ConnNone    Connectivity = "none"
	ConnPortal  Connectivity = "portal"
	ConnLimited Connectivity = "limited"
	ConnFull    Connectivity = "full"
)
