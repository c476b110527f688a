# The commands of this project. `make demo` and `make test` need git, make and Python >= 3.10, nothing else.
PYTHON ?= python3
DEMO_ENV := .venv-demo
ENV := .venv
BIN := $(ENV)/bin
# More threads than cores only wait for each other, and CI has two cores.
export OMP_NUM_THREADS ?= 2

.PHONY: help demo test check format lint types contracts pytest test-oldest clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

demo: $(DEMO_ENV)/.done ## install without torch and play the built-in scene
	$(DEMO_ENV)/bin/smartbin run --source scene

test: check test-oldest ## install with torch, then everything that CI runs

check: lint types contracts pytest ## format, lint, types, import rules, tests

format lint types contracts pytest: $(ENV)/.done

format: ## write the code as ruff wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

contracts:
	$(BIN)/lint-imports

pytest:
	$(BIN)/python -m pytest -q

test-oldest: ## smartbin and device on Python 3.10, numpy 1.26, OpenCV 4, without torch
	tools/test_oldest.sh

$(DEMO_ENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO_ENV)
	$(DEMO_ENV)/bin/python -m pip install --quiet --disable-pip-version-check --editable . --constraint constraints.txt
	touch $@

$(ENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(ENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' --constraint constraints.txt
	tools/tensorrt_bindings.sh $(BIN)/python $(ENV)/tensorrt-bindings
	touch $@

clean: ## remove the environments and caches
	rm -rf $(DEMO_ENV) $(ENV) .venv-oldest .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
