.DEFAULT_GOAL := help
.PHONY: help install run test quick soak check bench lock clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-9s %s\n", $$1, $$2}'

install: $(VENV)/.installed ## make the environment in .venv, with the command at .venv/bin/tally

$(VENV)/.installed: requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=... make)"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.installed
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

run: install ## serve on http://127.0.0.1:8080 with the embedded default
	@$(BIN)/tally up

services:
	@sh tests/services.sh

test: $(VENV)/.dev services ## all set-up and every test, about six minutes on two cores
	@$(BIN)/python -m pytest -q -n 3 --dist worksteal -m "not soak"

quick: $(VENV)/.dev ## unit tests without servers and with few random examples, about a minute
	@TALLY_QUICK=1 TALLY_EFFORT=0.1 $(BIN)/python -m pytest -q -r fE -n 3 --dist worksteal -m "not soak" tests/unit

soak: $(VENV)/.dev services ## the long proofs, hours
	@TALLY_EFFORT=40 $(BIN)/python -m pytest -q tests/unit/statemachine/test_order.py tests/unit/statemachine/test_inference.py tests/unit/statemachine/test_interleavings.py tests/unit/statemachine/folding/test_compaction.py
	@$(BIN)/python -m pytest -q -s -m soak

check: $(VENV)/.dev ## lint, types, import contracts
	@$(BIN)/ruff check . && $(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

bench: $(VENV)/.dev ## benchmarks and their audit, at most 25 minutes; prints one table (BENCH=quick: a few minutes)
	@sh tests/benchmarks/provision.sh
	@$(BIN)/python -m tests.benchmarks.run

lock: ## pin the newest versions of the dependencies (needs uv)
	uv pip compile --universal --generate-hashes --python-version 3.11 --upgrade -q pyproject.toml --group build -o requirements.txt
	uv pip compile --universal --generate-hashes --python-version 3.11 --upgrade -q pyproject.toml --group build --group dev -c requirements.txt -o requirements-dev.txt

clean: ## remove the environment and what tests leave behind
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
