# erpgate: `make run` serves, `make test` proves. `make help` lists the rest.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CARGO ?= cargo
VENV := target/clients-venv
export CARGO_TERM_COLOR ?= auto

.PHONY: help run test torture bench lint clean tools client-tools certs format clippy unit clients shipped

help: ## Show this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: tools ## Build, make development certificates, serve with simulated vendors
	$(CARGO) build --locked --profile quick --bin erpgate
	target/quick/erpgate certificates --dir certs
	target/quick/erpgate run --sandbox

test: tools format clippy unit shipped clients ## Everything that has to hold
	@echo "make test: everything holds"

torture: tools ## The crash test of `make test` for long: 200 deaths of each kind
	ERPGATE_TORTURE_KILLS=$${ERPGATE_TORTURE_KILLS:-200} ERPGATE_TORTURE_KEYS=$${ERPGATE_TORTURE_KEYS:-20000} \
		$(CARGO) test --locked --test torture -- --nocapture --test-threads=1

lint: tools format clippy ## Format and lints only

bench: tools ## CPU, memory and instructions, each beside a control (long; instructions need valgrind)
	$(CARGO) build --locked --release --bin erpgate --examples
	$(CARGO) bench --locked --bench stream_lane --bench access --bench throughput --bench ledger --bench once

clean: ## Remove what was built (certificates and data stay)
	$(CARGO) clean

# ---- steps ---------------------------------------------------------------------------------

tools:
	@./scripts/tools.sh build

client-tools:
	@./scripts/tools.sh clients $(VENV)

format: tools
	$(CARGO) fmt --check

clippy: tools
	$(CARGO) clippy --locked --all-targets -- -D warnings

# Architecture, units, properties and the end-to-end tests; those about what passes through once more by the vendor lane.
unit: tools
	$(CARGO) test --locked
	ERPGATE_TEST_LANE=vendor $(CARGO) test --locked --test gateway -- answers forwarding upstream framing limits http2 tls


# The shipped configuration has no problems, with certificates made as `make run` makes them, and the shipped
# policies do what their cases say.
shipped: tools
	$(CARGO) build --locked --bin erpgate
	./scripts/shipped.sh target/debug/erpgate

# Real clients against a gateway of its own.
clients: tools client-tools
	$(CARGO) build --locked --bin erpgate
	./scripts/clients.sh target/debug/erpgate $(VENV)
