# Everything a person needs to type. What is missing on the machine is
# installed by scripts/deps.sh, which says what it installs.

SHELL := /bin/bash

.PHONY: build demo test test-vm test-k8s bench generate lint fuzz clean

# PostgreSQL's grammar in agentd is C, so that building it takes a C compiler; it
# is linked statically all the same, and runs anywhere.
build:
	@scripts/deps.sh build
	CGO_ENABLED=1 go build -trimpath -tags netgo,osusergo -ldflags '-linkmode external -extldflags -static' -o bin/ ./cmd/agentd
	CGO_ENABLED=0 go build -trimpath -o bin/ ./cmd/agentctl

demo:
	@scripts/deps.sh demo
	@$(MAKE) --no-print-directory build
	@scripts/demo.sh

# TESTFLAGS goes to go test, as in: make test TESTFLAGS='-race -run Refus'
PACKAGES ?= ./...
test: root
	@scripts/deps.sh test
	go test $(TESTFLAGS) $(PACKAGES)

# The tests that work on the kernel, on Debian's older ones in qemu; on one of
# them with make test-vm VM_KERNEL=6.1. TESTFLAGS is for test programs here, as
# in TESTFLAGS='-test.run Refus', and VM_PACKAGES='./agentd/pods/...' narrows it down.
VM_KERNEL ?= 6.1 6.12
test-vm: root
	@scripts/deps.sh vm
	@TESTFLAGS='$(TESTFLAGS)' VM_PACKAGES='$(VM_PACKAGES)' scripts/vm-test.sh $(VM_KERNEL)

# What an operator does with deploy/ and kubectl, on a Kubernetes node of its own.
# The first time, Kubernetes itself is built: ten minutes, kept in ~/.cache/agentd.
test-k8s: root
	@scripts/deps.sh test
	go test $(TESTFLAGS) -tags k8s -count=1 -timeout 1h -v ./agentd/internal/cluster

# BENCHFLAGS goes to scripts/bench, as in: make bench BENCHFLAGS='-rounds 1 -time 2s'
bench: root
	@scripts/deps.sh bench
	@$(MAKE) --no-print-directory build
	go test -run=NONE -bench=BenchmarkConnect -benchtime=40x ./agentd/capture
	go test -run=NONE -bench='StudyCold|Known' ./agentd/grammar
	go run ./scripts/bench $(BENCHFLAGS)

# Only needed after a change under bpf/: the objects are in the repository.
generate:
	@scripts/deps.sh generate
	go generate ./...

lint:
	@scripts/lint.sh

# FUZZTIME is for each fuzz target.
FUZZTIME ?= 10s
fuzz:
	@scripts/fuzz.sh $(FUZZTIME)

clean:
	rm -rf bin

.PHONY: root
root:
	@[[ $$(id -u) == 0 ]] || { echo "needs root, for eBPF, control groups and network namespaces: sudo make $(MAKECMDGOALS)" >&2; exit 1; }
