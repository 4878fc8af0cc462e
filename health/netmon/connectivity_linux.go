package netmon

import (
	"context"

	"github.com/godbus/dbus/v5"
)

// AskNetworkManager asks over the system's D-Bus; ConnUnknown where there is
// none, or it does not know. ctx bounds it. It never starts NetworkManager: a
// machine without it has its reasons.
func AskNetworkManager(ctx context.Context) Connectivity {
	// The end of ctx closes the connection, and with it whatever waits on it.
	bus, err := dbus.ConnectSystemBus(dbus.WithContext(ctx))
	if err != nil {
		return ConnUnknown
	}
	defer func() { _ = bus.Close() }()

	const service = "org.freedesktop.NetworkManager"
	var value uint32
	err = bus.Object(service, "/org/freedesktop/NetworkManager").
		CallWithContext(ctx, "org.freedesktop.DBus.Properties.Get", dbus.FlagNoAutoStart, service, "Connectivity").
		Store(&value)
	if err != nil {
		return ConnUnknown
	}
	return connectivity(value)
}

// connectivity reads an NMConnectivityState.
func connectivity(state uint32) Connectivity {
	switch state {
	case 1:
		return ConnNone
	case 2:
		return ConnPortal
	case 3:
		return ConnLimited
	case 4:
		return ConnFull
	}
	return ConnUnknown
}
