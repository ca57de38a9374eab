# StreamForge. `make demo` shows it living, `make test` proves it; everything else is a convenience.

STACK    ?= embedded
DURATION ?=
VENUES   ?=
SPEED    ?= 1
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PROGRAMS := streamforge loader parser writer venue-simulator

SHELL := /bin/bash
.DEFAULT_GOAL := help

.PHONY: help
help: ## This list.
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build the programs into bin/.
	@scripts/need.sh go gcc
	@mkdir -p bin
	@go build -trimpath -ldflags '-X github.com/streamforge/streamforge/services/internal/app.buildVersion=$(VERSION)' \
	  -o bin/ $(addprefix ./services/,$(PROGRAMS))

.PHONY: demo
demo: build ## Everything at once, live; ends with a proof. DURATION=20s STACK=apache VENUES=binance,kraken
	@bin/streamforge demo --stack $(STACK) $(if $(DURATION),--duration $(DURATION)) $(if $(VENUES),--venues $(VENUES))

.PHONY: test
test: ## Prove it: unit, race, integration on both stacks, whole processes.
	@scripts/test.sh

.PHONY: replay
replay: build ## Send a recording through the pipeline: CAPTURE=file [SPEED=max] [STACK=apache]
	@bin/streamforge replay --stack $(STACK) --speed $(SPEED) $(if $(CAPTURE),$(CAPTURE),$(error say which recording: make replay CAPTURE=path))

.PHONY: chaos
chaos: build ## Kill loader, parser and writer in turn under load, then prove it. STACK=apache CHAOS='--outage clickhouse'
	@bin/streamforge chaos --stack $(STACK) $(or $(CHAOS),--kill loader,parser,writer)

.PHONY: load
load: build ## The pipeline at 20 times the busiest recorded second, for a minute: RATE=145.2 DURATION=60s STACK=apache
	@bin/streamforge load --stack $(STACK) $(if $(RATE),--rate $(RATE)) $(if $(DURATION),--duration $(DURATION)) $(if $(PROFILE),--profile $(PROFILE))

.PHONY: up
up: build ## Start the stack and the pipeline in the background.
	@bin/streamforge up --stack $(STACK) $(if $(VENUES),--venues $(VENUES))

.PHONY: status
status: build ## What runs, where, and whether it is well.
	@bin/streamforge status

.PHONY: down
down: build ## Drain and end what `make up` started.
	@bin/streamforge down

.PHONY: sql
sql: build ## A prompt on ClickHouse, or one query: Q='SELECT count() FROM raw_trades'
	@bin/streamforge sql $(if $(Q),"$$Q")
sql: export Q := $(Q)

.PHONY: plan
plan: build ## What `make apply` would change.
	@bin/streamforge plan

.PHONY: apply
apply: build ## Register schemas, create topics and tables as the contracts say.
	@bin/streamforge apply

.PHONY: register-schemas
register-schemas: build ## Register the schemas (SCHEMA_REGISTRY_URL=…).
	@bin/streamforge schemas register

.PHONY: install
install: build ## Fetch what the local stack needs, now. STACK=apache for Kafka and Apicurio as well
	@bin/streamforge install --stack $(STACK)

.PHONY: lint
lint: ## go vet, staticcheck, gofumpt, shellcheck.
	@scripts/lint.sh

.PHONY: fuzz
fuzz: ## Fuzz every decoder, FUZZTIME=30s each.
	@scripts/fuzz.sh

.PHONY: bench
bench: ## Every benchmark beside the code.
	@go test -run '^$$' -bench . -benchmem ./...

.PHONY: clean
clean: ## Remove what was built and the local stack's data.
	@rm -rf bin .streamforge
