# Each target first looks for what it needs and installs what is missing (scripts/setup says what).

SHELL := /bin/bash
export PATH := $(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# Further arguments: `make run ARGS='--listen 127.0.0.1:9000'`, `make test ARGS='-p tenantry-core'`.
ARGS ?=
WITH_POSTGRES := cargo run --quiet --package tenantry-embedded --bin with-postgres --

.DEFAULT_GOAL := help
.PHONY: help run test isolation bench bench-fleet bench-api bench-metering conformance lint docs

help: ## print this list
	@awk -F ': ## ' '/^[a-z-]+: ## / { printf "make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Not optimized as a whole: the linker's optimization takes many minutes more, and a server to look at need not be quick. `make test` uses the same build.
run: ## start the server on a private PostgreSQL, with two demo tenants
	@scripts/setup run
	cargo run --package tenantry -- dev $(ARGS)

test: ## run every test, on a throwaway PostgreSQL
	@scripts/setup test
	$(WITH_POSTGRES) cargo test --workspace $(ARGS)

isolation: ## run the isolation suite alone
	@scripts/setup test
	$(WITH_POSTGRES) cargo test --package isolation --test isolation $(ARGS)

bench: ## measure, and write the figures to target/bench/
	@scripts/setup bench
	cargo run --release --package bench -- $(or $(ARGS),access http revocation)

bench-fleet: ## measure migrations of 10,000 tenants, beside django-tenants
	@scripts/setup bench-fleet
	cargo run --release --package bench -- fleet $(ARGS)

bench-api: ## measure the API with everything on, beside Express with a pool per tenant
	@scripts/setup bench-api
	cargo run --release --package bench -- api $(ARGS)

bench-metering: ## measure the gateway beside LiteLLM, ingest beside COPY, and a page of ten million calls
	@scripts/setup bench-metering
	cargo build --release --package testkit --bin upstream
	cargo run --release --package bench -- metering $(ARGS)

conformance: ## hold a running server against its OpenAPI document, with schemathesis
	@scripts/conformance $(ARGS)

lint: ## check format, lints and documentation
	@scripts/setup lint
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

docs: ## write the generated pages of docs/ anew
	@scripts/setup test
	TENANTRY_UPDATE_DOCS=1 $(WITH_POSTGRES) cargo test --quiet --package tenantry --test command_line --test api -- reference:: permissions::every_role
