# SPDX-License-Identifier: Apache-2.0
#
# make demo   builds, verifies and synthesises the real model of examples/japanese_vowels and shows the result
# make test   lints, type-checks and runs the tests
#
# Everything is installed into .venv; each target installs only what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
WORKERS ?= 2

.PHONY: demo test test-long lint bench exactness clean tools
.DEFAULT_GOAL := help

.PHONY: help
help:
	@sed -n 's/^# \(make .*\)/\1/p' $(MAKEFILE_LIST)

# A compiler is the one thing that pip cannot bring.
tools:
	@sh scripts/require_tools.sh

$(VENV)/core: pyproject.toml | tools
	$(PYTHON) -m venv $(VENV)
	$(PIP) --upgrade pip
	$(PIP) -e '.[sim,synth]'
	@touch $@

$(VENV)/dev: $(VENV)/core
	$(PIP) -e '.[dev]'
	$(PIP) -e '.[train]'
	@touch $@

# make demo
demo: $(VENV)/core
	$(BIN)/python examples/japanese_vowels/demo.py

# make test
test: $(VENV)/dev lint
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m 'not long'

# make test-long   the full matrices: every option set x 2 sizes x 3 foldings
test-long: $(VENV)/dev
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -m long -s

# make lint
lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# make bench   ratios and rates, measured in one run
bench: $(VENV)/dev
	$(BIN)/python benchmarks/run.py

# make exactness   the long table: every row through every level; hours, and goes on where it was stopped
exactness: $(VENV)/dev
	$(BIN)/python benchmarks/exactness.py --jobs $(WORKERS)

clean:
	rm -rf $(VENV) out build dist .pytest_cache .mypy_cache .ruff_cache
