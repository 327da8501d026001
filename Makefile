# The index of what can be done here. `make demo` and `make test` work on a fresh machine.

PREFIX ?= /usr/local
DESTDIR ?=
# contrib/test.sh uses it too.
export SWIFT ?= swift

# What the build needs, and what the tests and the demo use. Names of Debian packages.
BUILD_PACKAGES := libsqlite3-dev libnftnl-dev libmnl-dev libnetfilter-conntrack-dev pkg-config
DEMO_PACKAGES := nftables iproute2 socat curl procps util-linux
TEST_PACKAGES := conntrack sqlite3 gcc libc6-dev
# Who else is on a host. Installing them starts some of them, so only tests want them.
TEST_PACKAGES += systemd dbus firewalld ufw iptables
# Real runtimes, and what their image is made with.
RUNTIME_PACKAGES := docker.io podman crun conmon netavark aardvark-dns catatonit libc6-dev
RELEASE := .build/release/pmagent

.PHONY: help deps build test soak platform demo bench bench-short churn lint fmt install uninstall clean

help: ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / — /'

deps: ## install the Debian packages that are missing (needs root only then)
	@contrib/deps.sh $(BUILD_PACKAGES) $(DEMO_PACKAGES) $(TEST_PACKAGES) $(RUNTIME_PACKAGES)

build: ## the release build of pmagent
	@contrib/deps.sh $(BUILD_PACKAGES)
	$(SWIFT) build -c release --product pmagent --static-swift-stdlib

test: deps ## all tests, with the real kernel in namespaces (needs root)
	$(SWIFT) build --build-tests
	contrib/test.sh

soak: deps ## the fault tests at length, half an hour, with counts (needs root)
	$(SWIFT) build --build-tests
	PMAGENT_SOAK=1 contrib/test.sh --filter FaultTests
	PMAGENT_SIMULATION=1 $(SWIFT) build -c release --product simulation -Xswiftc -enable-testing --static-swift-stdlib --scratch-path .build-simulation
	contrib/simulate.sh .build-simulation/release/simulation 25 40000

platform: deps ## whether this kernel does what pmagent relies on, without pmagent (needs root)
	Docs/platform-requirements/run-all

demo: build ## the main job, live, in namespaces of its own (needs root); RUNTIME=docker or podman: beside the real one
	@contrib/deps.sh $(DEMO_PACKAGES) $(if $(RUNTIME),$(RUNTIME_PACKAGES))
	contrib/demo/demo.sh $(RELEASE) $(RUNTIME)

bench: build ## Docs/performance.md: everything measured beside its floor and the peers, 15 minutes (needs root)
	$(SWIFT) build -c release --package-path Benchmarks
	Benchmarks/bench.sh full $(RELEASE)

bench-short: build ## the ratios and counts among it, 4 minutes; fails when one crosses its limit (needs root)
	$(SWIFT) build -c release --package-path Benchmarks
	Benchmarks/bench.sh short $(RELEASE)

churn: build ## an hour of 500 starts and stops a second, in which nothing may grow (needs root)
	$(SWIFT) build -c release --package-path Benchmarks
	Benchmarks/bench.sh short $(RELEASE) churn-hour

lint: ## formatting and style; the compiler's warnings are errors in every build
	$(SWIFT) format lint --strict --recursive Package.swift Sources Tests Migrations Benchmarks/Package.swift Benchmarks/Sources

fmt: ## format the sources
	$(SWIFT) format --in-place --recursive Package.swift Sources Tests Migrations Benchmarks/Package.swift Benchmarks/Sources

install: build ## PREFIX=/usr/local, DESTDIR for packagers
	install -D -m 0755 $(RELEASE) $(DESTDIR)$(PREFIX)/bin/pmagent
	sed 's|/usr/local/bin/|$(PREFIX)/bin/|' contrib/systemd/pmagent.service | \
	  install -D -m 0644 /dev/stdin $(DESTDIR)$(PREFIX)/lib/systemd/system/pmagent.service
	install -D -m 0644 contrib/pmagent.toml $(DESTDIR)/etc/pmagent/pmagent.toml.example
	install -D -m 0755 contrib/podman/netavark $(DESTDIR)$(PREFIX)/lib/pmagent/podman/netavark
	install -D -m 0755 -t $(DESTDIR)$(PREFIX)/lib/pmagent/podman/no-firewall contrib/podman/no-firewall/*

uninstall: ## what install put there
	rm -f $(DESTDIR)$(PREFIX)/bin/pmagent $(DESTDIR)$(PREFIX)/lib/systemd/system/pmagent.service
	rm -f $(DESTDIR)/etc/pmagent/pmagent.toml.example
	rm -rf $(DESTDIR)$(PREFIX)/lib/pmagent

clean: ## remove the build
	rm -rf .build .build-simulation Benchmarks/.build
