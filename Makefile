# StreamForge. `make demo` shows it living, `make test` proves it; everything else is a convenience.

STACK    ?= embedded
DURATION ?=
VENUES   ?=
SPEED    ?= 1
CHAOS    ?= --kill loader,parser,writer
VERSION  := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
PROGRAMS := streamforge loader parser writer venue-simulator

# A path and a query reach the program as they were typed: blanks, quotes and dollar signs included.
export CAPTURE_FILE = $(value CAPTURE)
export SQL_QUERY = $(value Q)
unexport CAPTURE Q

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
	@bin/streamforge demo --stack $(STACK) $(if $(DURATION),--duration=$(DURATION)) $(if $(VENUES),--venues $(VENUES))

.PHONY: test
test: ## Prove it: unit, race, integration on both stacks, whole processes.
	@scripts/test.sh

.PHONY: replay
replay: build ## Send a recording through the pipeline: CAPTURE=file [SPEED=max] [STACK=apache]
	@bin/streamforge replay --stack $(STACK) --speed=$(SPEED) $(if $(value CAPTURE),"$$CAPTURE_FILE",$(error say which recording: make replay CAPTURE=path))

.PHONY: chaos
chaos: build ## Kill loader, parser and writer in turn under load, then prove it. STACK=apache CHAOS='--outage clickhouse'
	@bin/streamforge chaos --stack $(STACK) $(CHAOS)

.PHONY: verify
verify: build ## Prove that the tables and views of what runs hold what its topics hold: TOPIC=raw-trades
	@bin/streamforge verify $(TOPIC)

.PHONY: manifest
manifest: build ## Write what a table holds by day and group, or check it: TOPIC=raw-trades [DAY=2026-11-22] [OUT=file] | CHECK=file
	@bin/streamforge manifest $(if $(CHECK),check $(CHECK),write $(or $(TOPIC),$(error say of which topic: make manifest TOPIC=raw-trades)) $(if $(DAY),--day=$(DAY)) $(if $(OUT),--out=$(OUT)))

.PHONY: torture-writer
torture-writer: build ## Random faults from a seed around the writer, then the proof: SEED=1 SEEDS=1 MINUTES=0.167 STACK=apache ONLY=power-loss
	@bin/streamforge install --stack $(STACK)
	@go build -trimpath -o bin/torture-writer ./services/writer/torture
	@bin/torture-writer --stack $(STACK) --seed $(or $(SEED),1) --seeds $(or $(SEEDS),1) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(ONLY),--only=$(ONLY))

.PHONY: bench-writer
bench-writer: build ## The writer against ClickHouse's own Kafka engine: CASE=trades|wide|books|small ROWS=3000000 PAIRS=5 VIEW=one|none PROFILE=file
	@bin/streamforge install --stack $(STACK)
	@go build -trimpath -o bin/bench-writer ./services/writer/bench
	@bin/bench-writer --stack $(STACK) $(if $(CASE),--case=$(CASE)) $(if $(ROWS),--rows=$(ROWS)) $(if $(PAIRS),--pairs=$(PAIRS)) $(if $(VIEW),--view=$(VIEW)) $(if $(PROFILE),--profile=$(PROFILE))

.PHONY: load
load: build ## The pipeline at 20 times the busiest recorded second, for a minute: RATE=145.2 DURATION=60s STACK=apache
	@bin/streamforge load --stack $(STACK) $(if $(RATE),--rate $(RATE)) $(if $(DURATION),--duration=$(DURATION)) $(if $(PROFILE),--profile $(PROFILE))

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
	@bin/streamforge sql $(if $(value Q),"$$SQL_QUERY")

.PHONY: plan
plan: build ## What `make apply` would change.
	@bin/streamforge plan || [ $$? -eq 2 ]

.PHONY: apply
apply: build ## Register schemas, create topics, tables and access rights as the contracts say.
	@bin/streamforge apply

.PHONY: register-schemas
register-schemas: build ## Register the schemas, their sinks' columns first: SCHEMA_REGISTRY_URL=… CLICKHOUSE_URL=… DRY_RUN=1 SINK=later
	@bin/streamforge schemas register || [ $$? -eq 2 ]

.PHONY: new-consumer
new-consumer: build ## A program that reads data products: NAME=momentum TOPICS=raw-trades KIND=python|go [OWNER=team] [REGENERATE=1]
	@bin/streamforge new consumer $(if $(REGENERATE),--regenerate) --topics='$(TOPICS)' --kind='$(or $(KIND),python)' $(if $(OWNER),--owner='$(OWNER)') -- '$(NAME)'

.PHONY: tail
tail: build ## A topic's records, live and decoded: TOPIC=raw-trades FILTER='symbol=BTC-USDT' LAST=10
	@bin/streamforge tail --last=$(or $(LAST),0) $(foreach f,$(FILTER),--filter='$(f)') -- '$(or $(TOPIC),$(error say which topic: make tail TOPIC=raw-trades))'

.PHONY: trace
trace: build ## A row back to the venue's own bytes: TABLE=raw_trades PARTITION=3 OFFSET=42
	@bin/streamforge trace '$(or $(TABLE),$(error say which row: make trace TABLE=raw_trades PARTITION=3 OFFSET=42))' '$(or $(PARTITION),$(error say which partition: PARTITION=3))' '$(or $(OFFSET),$(error say which offset: OFFSET=42))'

# What a pull request needs is built without cgo: in a fresh clone that is the quicker half, and no C compiler is needed.
.PHONY: offline
offline:
	@scripts/need.sh go git
	@mkdir -p bin
	@CGO_ENABLED=0 go build -trimpath -o bin/streamforge-offline ./services/streamforge

.PHONY: pr-check
pr-check: offline ## The comment that a pull request of this working tree would read. BASE=origin/main
	@bin/streamforge-offline pr-check $(if $(BASE),--base='$(BASE)')

.PHONY: try-breaking
try-breaking: offline ## Rename a field in a temporary worktree and see what the pull request would read. No server.
	@bin/streamforge-offline try-breaking

.PHONY: install
install: build ## Fetch what the local stack needs, now. STACK=apache for Kafka and Apicurio as well
	@bin/streamforge install --stack $(STACK)

.PHONY: lint
lint: ## go vet, staticcheck, gofumpt, actionlint, shellcheck.
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
