# Everything a person or a CI machine runs. `make help` lists it. Needs the Rust and Go toolchains, nothing else.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

BINARIES := tests/controlplane/binaries/build.sh
CARGO_DENY_VERSION := 0.20.2
CRD_MANIFESTS := crds/manifests
CHART := charts/ampacity

# Large public traces, for benchmarks only.
AMPACITY_DATA ?= ../shared/data
BENCH_SEEDS ?= 10

# All fuzz targets together; 0 panics in 600 seconds is what a release must pass.
FUZZ_SECONDS ?= 600

.PHONY: help
help: ## List the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

## People

.PHONY: demo
demo: ## A hub and two member clusters on this machine, the operator, example jobs: watch them run
	@demo/demo.sh run

.PHONY: job
job: ## Apply your own job to the demo's hub and follow it (FILE=docs/examples/first-job.yaml)
	@demo/demo.sh job "$(or $(FILE),docs/examples/first-job.yaml)"

.PHONY: demo-down
demo-down: ## Stop everything the demo started and remove its state
	@demo/demo.sh down

## Tests

.PHONY: test
test: fmt-check clippy binaries helm-lint ## Everything a change must pass: format, lints, chart, unit and end-to-end tests
	cargo test --workspace

.PHONY: fmt-check
fmt-check: ## Formatting of all Rust code
	cargo fmt --all --check

.PHONY: clippy
clippy: ## Lints, warnings denied
	cargo clippy --workspace --all-targets --quiet -- -D warnings

.PHONY: helm-lint
helm-lint: binaries ## Lint the chart in both of its shapes
	@helm=$$($(BINARIES) --print-dir)/helm; \
	"$$helm" lint --strict $(CHART) --set image.repository=registry.example/ampacity; \
	"$$helm" lint --strict $(CHART) --set memberOnly=true

.PHONY: nextest
nextest: binaries ## The same tests with cargo-nextest, where it is installed
	cargo nextest run --workspace

.PHONY: fuzz
fuzz: ## Any bytes to all that reads files, for FUZZ_SECONDS; fails on a panic, a hang or too much memory (needs a C++ compiler)
	FUZZ_SECONDS=$(FUZZ_SECONDS) tests/fuzz/run.sh

.PHONY: deny
deny: ## Licences, advisories and sources of all dependencies (installs cargo-deny when it is absent)
	@cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny@$(CARGO_DENY_VERSION)
	cargo deny check

## Parts

.PHONY: binaries
binaries: ## Build the control-plane programs (etcd, kube-apiserver, kwok, helm …) once, into a cache outside the checkout
	@$(BINARIES) core
	@$(BINARIES) helm

.PHONY: crds
crds: ## Write the CRD manifests from the Rust types, and the chart's copy of them
	UPDATE_CRDS=1 cargo test --quiet --package ampacity-api --test manifests
	@$(MAKE) --no-print-directory chart

.PHONY: chart
chart: ## Copy the CRD manifests into the chart
	@mkdir -p $(CHART)/crds
	@rm -f $(CHART)/crds/*.yaml
	@cp $(CRD_MANIFESTS)/*.yaml $(CHART)/crds/

.PHONY: docs
docs: ## Build the book into target/book (needs mdbook)
	mdbook build docs --dest-dir ../target/book

## Measurements

.PHONY: bench
bench: ## The engine's goals with measured values (BENCH_SEEDS=1 is faster; BENCH_ARGS=--help lists options)
	cargo build --release --quiet --package ampacity --package ampacity-bench
	@AMPACITY_DATA="$(AMPACITY_DATA)" cargo run --release --quiet --package ampacity-bench --bin bench-engine -- --seeds $(BENCH_SEEDS) $(BENCH_ARGS)
	@cargo run --release --quiet --package ampacity-bench --bin bench-memory

.PHONY: bench-e2e
bench-e2e: ## Jobs per second on a real hub, beside plain Jobs and beside Kueue (builds Kueue; BENCH_ARGS=--help lists options)
	@$(BINARIES) all
	cargo build --release --package ampacity --package ampacity-bench
	cargo run --release --quiet --package ampacity-bench --bin bench-e2e -- $(BENCH_ARGS)
