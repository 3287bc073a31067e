# Everything runs in .venv, which is made when it is absent or older than what it is made from.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEV = import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["dependency-groups"]["dev"])

# Tests start Python many times: what the first has compiled, the others shall find.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint style form types layers format bench clean

help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*##/\1:/p' $(MAKEFILE_LIST)

setup: $(STAMP)  ## make .venv and install the package and its tools into it

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(STAMP): pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt \
		-e '.[datasets,glyphs,ot]' $$($(BIN)/python -c '$(DEV)')
	@touch $@

demo: setup  ## run the whole job on embedded data
	$(BIN)/regraft demo

# Beside each other, since the types take longest; each prints its lines in one piece.
lint: setup  ## style, types and layers
	@$(MAKE) --no-print-directory --jobs --keep-going --output-sync types layers style form

types:
	$(BIN)/mypy --num-workers 2

layers:
	$(BIN)/lint-imports --no-logo

style:
	$(BIN)/ruff check .

form:
	$(BIN)/ruff format --check .

PARALLEL = -n auto --dist loadfile

# The tests run even where lint fails, so that one run tells all; either failing fails. Whole studies
# run first and beside each other alone: each computes in one thread, so that they do not slow each
# other, and what a budget decides depends on how fast the machine is.
test: setup  ## lint, then the tests
	@status=0; \
	$(MAKE) --no-print-directory lint || status=$$?; \
	$(BIN)/pytest $(PARALLEL) tests/e2e || status=$$?; \
	$(BIN)/pytest $(PARALLEL) --ignore=tests/e2e || status=$$?; \
	exit $$status

test-all: setup  ## lint, then all tests, the slow ones included
	@status=0; \
	$(MAKE) --no-print-directory lint || status=$$?; \
	$(BIN)/pytest -m '' $(PARALLEL) tests/e2e || status=$$?; \
	$(BIN)/pytest -m '' $(PARALLEL) --ignore=tests/e2e || status=$$?; \
	exit $$status

format: setup  ## put the code into the form that lint asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup  ## measure on the data sets of benchmarks/
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[bench]'
	@set -e; for script in benchmarks/*.py; do echo "$$script"; $(BIN)/python "$$script"; done

clean:  ## remove .venv, caches and build products
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
	find src tests -name __pycache__ -type d -exec rm -rf {} +
