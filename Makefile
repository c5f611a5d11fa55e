# The only entry point: `make` lists the targets.

CARGO ?= cargo
PREFIX ?= /usr/local
# A program starts three times as fast with musl as with glibc (docs/decisions/0017-start.md), which serves where Rust has no
# library for musl and none can be had.
MUSL = $(shell uname -m)-unknown-linux-musl
HAS_MUSL = [ -d "$$(rustc --print target-libdir --target $(MUSL))" ]
# Named even where it is the host's: without --target RUSTFLAGS would reach procedural macros, which are shared objects.
TARGET = $(shell if $(HAS_MUSL); then echo $(MUSL); else rustc -vV | sed -n 's/^host: //p'; fi)
BUILT = $(or $(CARGO_TARGET_DIR),target)
# Relocations in a hundredth of the room (musl 1.2.4 and glibc 2.36 apply them, older ones crash), and no tables to unwind by.
STATIC = -C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,-T,release.ld
BINARY = target/release/onggi
PROBE = $(abspath $(BUILT))/debug/examples/probe
# The test program is run by the user, cargo and all that it needs by root.
AS_USER = 'target."cfg(unix)".runner = ["integration/enter", "integration/as-user", "onggi-test"]'
BINARY_LIMIT = $(if $(findstring musl,$(TARGET)),2400000,3000000)
DENY_VERSION = 0.20.2
SCRIPTS = .ci/run $(shell find benches integration conformance -type f -perm -u+x)

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build release demo test native check lint deny unit probe integration vm test-vm bench bench-vm \
    bench-seccomp gate suite conformance mutations fmt doc install clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what building, tests and demo need: Debian packages (as root), Rust's library for musl
	@if ! which gcc readelf shellcheck > /dev/null || [ ! -e /usr/include/stdlib.h ]; then \
	    apt-get update -q && DEBIAN_FRONTEND=noninteractive \
	    apt-get install -q -y --no-install-recommends gcc libc6-dev binutils shellcheck; fi
	@$(HAS_MUSL) || rustup target add $(MUSL) || true # `make release` tells what this means
	@integration/install

build: ## debug build
	$(CARGO) build --locked

release: ## the static binary at target/release/onggi, checked for size and for being static
	@$(HAS_MUSL) || echo "WARNING: Rust has no library for $(MUSL) here, so every command will start slower: rustup target add $(MUSL)"
	RUSTFLAGS="$(STATIC)" $(CARGO) build --locked --release --bin onggi --target $(TARGET)
	@install -D -m 0755 $(BUILT)/$(TARGET)/release/onggi $(BINARY)
	@if readelf --dynamic --program-headers --wide $(BINARY) | grep -E 'NEEDED|INTERP'; then \
	    echo "$(BINARY) is not static" >&2; exit 1; fi
	@if ! readelf --file-header $(BINARY) | grep -q 'DYN (Position-Independent'; then \
	    echo "$(BINARY) is not position-independent: address randomisation is lost" >&2; exit 1; fi
	@$(BINARY) --version > /dev/null || { echo "$(BINARY) does not start: is its C library older than musl 1.2.4 or glibc 2.36?" >&2; exit 1; }
	@size=$$(stat --format %s $(BINARY)); echo "$(BINARY): static-pie, $$size bytes"; \
	if [ $$size -gt $(BINARY_LIMIT) ]; then echo "$(BINARY) is above $(BINARY_LIMIT) bytes" >&2; exit 1; fi

demo: setup release ## show a real container and its life, from the inside and the outside (as root)
	@integration/demo

test: setup ## everything: lint, unit and integration tests, here and in the test machine (as root)
	+@integration/everything

native: lint deny unit release probe suite integration gate ## the part of `make test` on this machine alone (as root, after setup)

check: test ## what continuous integration runs

lint: ## formatting, clippy, shellcheck
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) clippy --locked --features internals --bench seccomp --example flatten -- -D warnings
	shellcheck --severity=warning --external-sources --source-path=SCRIPTDIR $(SCRIPTS)

deny: ## licences, sources, banned crates; advisories where their database can be fetched
	@$(CARGO) deny --version > /dev/null 2>&1 || CARGO_PROFILE_DEV_DEBUG=0 \
	    $(CARGO) install --quiet --locked --debug --version $(DENY_VERSION) cargo-deny
	$(CARGO) deny --locked check --hide-inclusion-graph licenses bans sources
	@if $(CARGO) deny fetch db > /dev/null 2>&1; then \
	    echo "$(CARGO) deny check advisories"; $(CARGO) deny --locked check --disable-fetch advisories; \
	else \
	    echo "WARNING: advisories NOT CHECKED: the RustSec database cannot be fetched from here"; fi

unit: ## unit tests: pure code, no root needed
	$(CARGO) test --locked --lib --bins --example compare --example report

probe: ## the static program that the integration tests run inside containers
	$(CARGO) rustc --locked --example probe -- -Ctarget-feature=+crt-static -Cstrip=symbols

integration: ## integration tests against the release binary, as root and as a user (as root, after setup, release, probe)
	$(CARGO) test --locked --test integration --no-run
	ONGGI_BIN="$(CURDIR)/$(BINARY)" integration/enter $(CARGO) test --locked --test integration
	ONGGI_BIN="$(CURDIR)/$(BINARY)" ONGGI_TEST_PROBE="$(PROBE)" $(CARGO) test --locked --test integration --config $(AS_USER)

vm: ## the test machine: a Debian with systemd and all cgroup controllers, under QEMU (as root)
	@integration/install vm
	@integration/vm/build

test-vm: vm release probe ## integration tests in the test machine; AXES="root-systemd ..." and ARGS="cgroup::" choose
	@binary="$$($(CARGO) test --locked --test integration --no-run --message-format=json | \
	    sed -n 's/.*"executable":"\([^"]*\/integration-[^"]*\)".*/\1/p')"; \
	ONGGI_TEST_PROBE="$(PROBE)" exec integration/vm/test "$$binary" $(ARGS)

suite: ## the validation suite of the OCI, and the tests of `make conformance` (Go 1.24 and its modules)
	@conformance/runtime-tools/build
	$(CARGO) test --locked --test conformance --no-run

conformance: vm release suite ## engines, the validation suite of the OCI, other runtimes: in the test machine; ARGS="docker::" chooses
	@conformance/run $(ARGS)

mutations: setup probe ## the tests of security notice when a check is gone (as root)
	@integration/mutate

bench-seccomp: setup ## system call filters beside libseccomp's: compiling, loading and each call (as root)
	$(CARGO) bench --locked --features internals --bench seccomp

bench: setup release ## all commands beside crun, runc and the floor: targets, tables, plots (as root; PEERS=all ROUNDS=n)
	@benches/run

bench-vm: vm release ## the part of `make bench` in the test machine: counts with systemd, lowest memory limit (as root)
	@benches/vm

gate: release ## counts of all commands against benches/limits.json, and a report of times (as root, after setup)
	@benches/gate

fmt: ## format the code
	$(CARGO) fmt

doc: ## the code's documentation, private items included
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items

install: ## install the release binary; DESTDIR and PREFIX (/usr/local) are heeded
	@[ -x $(BINARY) ] || { echo "run make release first" >&2; exit 1; }
	install -D -m 0755 $(BINARY) "$(DESTDIR)$(PREFIX)/bin/onggi"

clean: ## remove what was built
	$(CARGO) clean
