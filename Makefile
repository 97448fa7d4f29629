# Everything is created below this folder: .tools (uv, the stub generator), .venv, .cache (jars), .penstock (data of the stack).
# The only thing taken for granted is a Python >= 3.11 (PYTHON=... chooses another) with pip.
SHELL := /bin/sh
PYTHON ?= python3
UV := .tools/uv/bin/uv
BIN := .venv/bin
PROTOS_PYTHON := .tools/protos/bin/python
PROTO_FILES := $(shell find protos/penstock -name '*.proto')
GENERATED ?= protos/gen
DETACH ?=
ARGUMENTS ?=
export UV_CACHE_DIR ?= $(CURDIR)/.cache/uv

.DEFAULT_GOAL := help
# Every target with a word of help; folders of some of these names exist.
.PHONY: $(shell awk -F : '/^[a-z-]+:.*\#\# / { print $$1 }' $(MAKEFILE_LIST))

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.complete ## create the environment: uv, packages from the hashed lock

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Penstock needs Python >= 3.11; this is %s. Choose another: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@$(PYTHON) -m pip --version >/dev/null 2>&1 || { echo "$(PYTHON) has no pip: install it (Debian: python3-pip), or choose another: make PYTHON=python3.12 ..."; exit 1; }
	@echo "fetching uv into .tools/uv"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --root-user-action ignore --target .tools/uv \
		--require-hashes --requirement deploy/local/bootstrap.lock

.venv/.complete: requirements.lock pyproject.toml hatch_build.py $(wildcard */compiled/* services/*/compiled/*) | $(UV)
	@echo "creating .venv from requirements.lock"
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --strict --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(PROTOS_PYTHON): protos/requirements.lock | $(UV)
	@$(UV) venv --quiet --clear --python $(PYTHON) .tools/protos
	@$(UV) pip sync --quiet --python $@ --require-hashes protos/requirements.lock
	@touch $@

demo: setup ## run the stories on the embedded stack and check every expectation
	@$(BIN)/penstock demo $(ARGUMENTS)

test: setup $(PROTOS_PYTHON) ## lint, types, import rules, stub freshness, unit and integration tests
	@$(BIN)/python -m tests $(ARGUMENTS)

up: setup ## start the embedded stack; DETACH=1 leaves it running in the background
	@$(BIN)/penstock up $(if $(DETACH),--detach) $(ARGUMENTS)

down: setup ## end a stack started with DETACH=1
	@$(BIN)/penstock down $(ARGUMENTS)

lint: setup ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup ## mypy, strict
	$(BIN)/mypy .

imports: setup ## who may import whom
	$(BIN)/lint-imports

unit: setup ## unit tests alone
	$(BIN)/pytest tests/unit

integration: setup ## integration tests alone: the embedded stack, real sockets
	$(BIN)/pytest tests/integration

cassandra-cluster: setup ## three Cassandra nodes, one killed: no acknowledged write is lost (minutes, 1.5 GB)
	$(BIN)/pytest tests/cluster/test_cassandra_cluster.py

cassandra-datacentres: setup ## two Cassandra datacentres, each lost in turn: the other goes on, both have everything (minutes, 1.5 GB)
	$(BIN)/pytest tests/cluster/test_cassandra_datacentres.py

chaos-bridge: setup ## kill and stop broker, bridge and target at random under a JMS producer: 20,000 messages, 20 faults
	$(BIN)/python -m tests.chaos_bridge $(ARGUMENTS)

chaos-tracking: setup ## kill the intake 1,000 times under load at each level; KILLS=50 for fewer
	PENSTOCK_CHAOS_KILLS=$(or $(KILLS),1000) $(BIN)/pytest tests/integration/test_tracking_durability.py -v

differential: setup ## filter policies: 200,000 random pattern and event pairs against event-ruler, 100,000 changes of an index
	PENSTOCK_EVENT_RULER_PAIRS=200000 PENSTOCK_INDEX_CHANGES=100000 $(BIN)/pytest -q --durations=3 \
		tests/integration/test_event_ruler.py tests/unit/filtering/test_index_changes.py

test-containers: setup ## the suite in containers, broken in every way; REQUIRE_DOCKER=1 makes a missing engine a failure
	$(BIN)/python -m tests parts-in-containers containers $(ARGUMENTS)

airgap: ## an engine, compose and every image where no image registry can be reached (Debian or Ubuntu, root)
	deploy/airgap/up.sh

airgap-down: ## end the engine that `make airgap` started
	deploy/airgap/engine.sh down

protos: setup $(PROTOS_PYTHON) ## check the .proto files and generate the stubs
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	$(BIN)/buf breaking --against protos/released.binpb
	rm -rf $(GENERATED) && mkdir -p $(GENERATED)
	PATH="$(CURDIR)/.tools/protos/bin:$$PATH" $(PROTOS_PYTHON) -m grpc_tools.protoc -I protos \
		--python_out=$(GENERATED) --pyi_out=$(GENERATED) --grpc_python_out=$(GENERATED) --mypy_grpc_out=quiet:$(GENERATED) \
		$(PROTO_FILES)
	touch $(GENERATED)/penstock/py.typed

protos-check: ## fail when the committed stubs are stale
	@$(MAKE) --no-print-directory protos GENERATED=build/stubs
	diff -r --exclude=__pycache__ protos/gen build/stubs

protos-release: setup ## record the .proto files as released: later changes are checked against them
	$(BIN)/buf build -o protos/released.binpb

bench: setup $(PROTOS_PYTHON) ## run every benchmark, ours and its peer in alternation
	$(BIN)/python -m bench

bench-filtering: setup ## filter index against event-ruler and moto's matcher
	$(BIN)/python -m bench.filtering

bench-tracking: setup ## tracking intake against a raw echo servicer
	$(BIN)/python -m bench.tracking

bench-outage: setup ## the store away for ten minutes: how fast the intake catches up, and its memory
	$(BIN)/python -m bench.outage $(ARGUMENTS)

bench-persistence: setup ## the SQLite store against a bare executemany loop
	$(BIN)/python -m bench.persistence

bench-bridge: setup ## bridge drain against a Java JMS consumer
	$(BIN)/python -m bench.bridge

bench-config: setup $(PROTOS_PYTHON) ## config service against etcd and against moto's SSM
	$(BIN)/python -m bench.config

lock: $(UV) ## resolve the dependencies again
	$(UV) pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
		--all-extras --group dev pyproject.toml --output-file requirements.lock

clean: ## remove everything that was created, the data of the stack included
	rm -rf .venv .tools .cache .penstock build
