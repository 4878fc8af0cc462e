# Everything here runs the pinned tools with `go run`: nothing to install but
# Go and, for interop and bench, the peers that .ci/run names.

GO          ?= go
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOFUMPT     := mvdan.cc/gofumpt@v0.10.0
FUZZTIME    ?= 30s

.DEFAULT_GOAL := help
.PHONY: help build run test check tools race fuzz interop torture lab bench clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## build bin/mailroam
	$(GO) build -trimpath -o bin/mailroam ./cmd/mailroam

run: build ## show it at work: a gateway and two practice upstreams, nothing to configure
	bin/mailroam demo

# -count=1: Go does not see that the end-to-end tests depend on the binary they
# build, and would answer for a changed gateway from its cache.
test: ## all tests that need neither root nor a network, with the race detector
	$(GO) test -race -count=1 -timeout 9m ./...

check: ## vet, staticcheck, gofumpt and the import rules
	$(GO) vet ./...
	$(GO) run $(STATICCHECK) ./...
	@files=$$($(GO) run $(GOFUMPT) -l cmd gateway health queue) || exit 1; \
	if [ -n "$$files" ]; then echo "not in gofumpt's style:"; echo "$$files"; exit 1; fi
	$(GO) test -count=1 ./gateway/e2e/rooms

tools: ## fetch what check runs
	$(GO) run $(STATICCHECK) -version
	$(GO) run $(GOFUMPT) -version

race: ## the tests three times over, shuffled, with the race detector
	$(GO) test -race -count=3 -shuffle=on -timeout 30m ./...

fuzz: ## every fuzz target for FUZZTIME (30s)
	@grep -rn --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]+' cmd gateway health queue | \
	while IFS=: read -r file _ name; do \
		echo "== $${name#func } in $$(dirname $$file)"; \
		$(GO) test -run '^$$' -fuzz "^$${name#func }$$" -fuzztime $(FUZZTIME) ./$$(dirname $$file) || exit 1; \
	done

interop: build ## real clients, through mailroam, to a real Postfix and a real Exim
	MAILROAM_INTEROP=1 $(GO) test -count=1 -timeout 20m ./gateway/e2e/interop/...

torture: build ## kill it 200 times under load, the long crash tests of the store, 100,000 rogue upstreams, 1,000 simulated lives
	MAILROAM_TORTURE=1 $(GO) test -count=1 -timeout 30m ./queue/bolt/... ./gateway/dispatch ./gateway/e2e/torture/...
	MAILROAM_TORTURE=1 $(GO) test -count=1 -v -timeout 10m -run Rogues ./gateway/relay

lab: build ## roam between networks that are real but for the cables; needs root
	MAILROAM_LAB=1 $(GO) test -count=1 -v -timeout 20m ./gateway/e2e/lab
	MAILROAM_LAB=1 $(GO) test -count=1 -v -timeout 5m -run HalfDead ./gateway/relay

bench: build ## measure against Postfix on this machine
	$(GO) run ./gateway/e2e/bench

clean: ## remove what build made
	rm -rf bin
