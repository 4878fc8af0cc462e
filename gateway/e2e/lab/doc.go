// Package lab roams for real: a laptop that runs the built binary, networks it
// walks between, and two providers, each in a network namespace of its own on
// one machine. Links lose their carrier, addresses come and go, routers drop,
// rewrite and forget, name servers lie, all in the kernel; nothing is simulated
// but the walking.
//
//	laptop                 networks: a router each               inet          providers
//	┌────────────┐ wlan0  ┌────────────────────────────────┐               ┌────────────────────────────┐
//	│ mailroam   ├───────▶│ home     all is well, IPv4 + 6 ├───┐       ┌───┤ a  mail.provider-a.test    │
//	│ resolver   │  │     ├────────────────────────────────┤   │       │   │    Postfix 25, 465, 587    │
//	│ docker0,   │  ├─ ─ ▶│ twin     another one, looks    ├───┤       │   │    sink.provider-a.test    │
//	│ tun0       │  │     │          just like home        │   │       │   │    a practice upstream 465 │
//	└────────────┘  │     ├────────────────────────────────┤   │ bridge│   └────────────────────────────┘
//	  moves its     ├─ ─ ▶│ cafe     drops 25 and 587      ├───┼───────┤   ┌────────────────────────────┐
//	  only cable    │     ├────────────────────────────────┤   │       └───┤ b  mail.provider-b.test    │
//	                ├─ ─ ▶│ hotel    a portal answers on   ├───┤           │    the same, on another    │
//	                │     │          25, 465, 587, 80      │   │           │    host                    │
//	                │     ├────────────────────────────────┤   │           └────────────────────────────┘
//	                ├─ ─ ▶│ broken6  IPv6 that leads       ├───┤
//	                │     │          nowhere               │   │
//	                │     ├────────────────────────────────┤   │
//	                ├─ ─ ▶│ guest    its name server lies, │   │
//	                │     │          dawdles or is dead    ├───┘
//	                │     ├────────────────────────────────┤
//	                └─ ─ ▶│ office   leads nowhere; has a  │
//	                      │          smart host            │
//	                      └────────────────────────────────┘
//	                        each translates addresses, serves names, and is tapped for what must not be seen
//
// The whole laboratory is one process tree in mount, PID and network namespaces
// of its own. It can therefore touch nothing of the machine's network, and it
// is gone, with its namespaces, when its first process is, however that ended.
//
// Each scenario prints one line: the time from the first usable route and
// resolver to the first and the last delivery (median of the rounds, worst in
// brackets), messages lost, second copies, and secrets seen outside proven TLS.
// What is beyond its limit is played until there are five rounds; a median
// beyond it fails. Run it with
//
//	make lab
//	MAILROAM_LAB=1 go test -count=1 -v ./gateway/e2e/lab -lab.rounds=5 -lab.soak=30m -timeout 2h
package lab
