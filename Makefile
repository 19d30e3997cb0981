# What one does with Taskplane. `make` alone lists it.

export HOME ?= /root
export TASKPLANE_CACHE ?= $(HOME)/.cache/taskplane
export CARGO_TARGET_DIR ?= $(TASKPLANE_CACHE)/target

BINARIES := -p taskplane-standalone -p taskplane-api -p taskplane-scheduler -p taskplane-reaper -p taskplane-executor \
	-p taskplane-cli -p taskplane-backend --bins

.DEFAULT_GOAL := help
.PHONY: help setup build release test chaos bench lint fmt demo dev up down clean cluster-up cluster-down

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what tests and demo need and is missing
	@bash scripts/setup.sh

build: ## Build the binaries for development
	cargo build $(BINARIES)

release: ## Build the binaries for use
	cargo build --release $(BINARIES)

test: setup ## Run all checks and tests
	@bash scripts/test.sh

cluster-up: ## Start a real Kubernetes with Tekton on this machine (tests/rig); the first time builds it, ~25 minutes
	@tests/rig/rig build
	@tests/rig/rig up

cluster-down: ## End it
	@tests/rig/rig down

test-cluster: setup ## Run Tasks on that cluster: build what is missing, up, the scenarios, down
	@bash scripts/test-cluster.sh

DURATION ?= 300

chaos: setup ## Kill, hold up and cut off every service for DURATION seconds (300), and check; SEED repeats a run, BURST says how many Tasks come at once
	@TASKPLANE_CHAOS_SECONDS=$(DURATION) $(if $(SEED),TASKPLANE_CHAOS_SEED=$(SEED)) $(if $(BURST),TASKPLANE_CHAOS_BURST=$(BURST)) bash scripts/chaos.sh

bench: setup ## Measure against others in the same run; LARGE=1 with 100 000 schedules and 1 000 000 Tasks too; ONLY=retention
	$(if $(LARGE),BENCH_LARGE=1) $(if $(ONLY),BENCH_ONLY=$(ONLY)) cargo bench -p taskplane-tests --bench bench

lint: setup ## Run the checks alone: format, clippy, protobuf, licences
	@bash scripts/lint.sh

fmt: setup ## Format Rust and protobuf
	cargo fmt --all
	$(TASKPLANE_CACHE)/venv/bin/buf format --write proto

demo: setup ## Push an example App and run Tasks on it
	@bash scripts/demo.sh

dev: ## Run the standalone and say how to talk to it
	@bash scripts/dev.sh

up: setup ## Run the whole system on this host: PostgreSQL, and two of each service
	@bash scripts/up.sh

down: ## Stop exactly what `make up` started
	@bash scripts/down.sh

clean: ## Remove what was built
	cargo clean
