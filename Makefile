# Everything is created below this folder: .tools (uv, the stub generator), .venv, .cache (jars), .penstock (data of the stack).
# The only thing taken for granted is a Python >= 3.11 (PYTHON=... chooses another) with pip.
SHELL := /bin/sh
PYTHON ?= python3
UV := .tools/uv/bin/uv
BIN := .venv/bin
PROTOS_PYTHON := .tools/protos/bin/python
PROTO_FILES := $(shell find protos/penstock -name '*.proto')
GENERATED ?= protos/gen
export UV_LINK_MODE ?= copy

.DEFAULT_GOAL := help
.PHONY: help setup demo test check lint types imports protos protos-check unit integration up down \
	bench bench-tracking bench-bridge lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.complete ## create the environment: uv, packages from the hashed lock

$(UV):
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Penstock needs Python >= 3.11; this is %s. Choose another: make PYTHON=python3.12 ..." % sys.version.split()[0])'
	@echo "fetching uv into .tools/uv"
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --target .tools/uv --require-hashes --requirement deploy/local/bootstrap.lock

.venv/.complete: requirements.lock pyproject.toml | $(UV)
	@echo "creating .venv from requirements.lock"
	@[ -x $(BIN)/python ] || $(UV) venv --quiet --python $(PYTHON) .venv
	@$(UV) pip sync --python $(BIN)/python --require-hashes requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(PROTOS_PYTHON): protos/requirements.lock | $(UV)
	@$(UV) venv --quiet --clear --python $(PYTHON) .tools/protos
	@$(UV) pip sync --quiet --python $@ --require-hashes protos/requirements.lock
	@touch $@

protos: setup $(PROTOS_PYTHON) ## check the .proto files and generate the stubs
	$(BIN)/buf lint
	$(BIN)/buf format --diff --exit-code
	rm -rf $(GENERATED) && mkdir -p $(GENERATED)
	PATH="$(CURDIR)/.tools/protos/bin:$$PATH" $(PROTOS_PYTHON) -m grpc_tools.protoc -I protos \
		--python_out=$(GENERATED) --pyi_out=$(GENERATED) --grpc_python_out=$(GENERATED) --mypy_grpc_out=$(GENERATED) $(PROTO_FILES)
	touch $(GENERATED)/penstock/py.typed
