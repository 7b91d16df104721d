# `make` lists the targets.  The first one that needs it makes .venv; a change of setup.cfg or
# pyproject.toml brings it up to date.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
JOBS   ?= 2
# more words for pytest, as in: make test ARGS="-k interrupt"
ARGS   ?=
# how long to fuzz the parsers; the conversations take about as long again
SECONDS ?= 60

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all faults soak fuzz check bench docs record clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.runtime  ## see it run user code
	$(BIN)/python examples/demo.py

test: $(VENV)/.develop  ## test with the tools that are here; name what was left out
	@echo "Tests marked slow are left to 'make test-all'; missing tools are listed at the end."
	$(BIN)/python -m pytest -n $(JOBS) -m "not slow" $(ARGS)

test-all: $(VENV)/.develop  ## install every tool, test everything, show the coverage
	tools/install-toolchains
	KERNEL_RUNNER_ALL_TOOLS=1 $(BIN)/python -m pytest -n $(JOBS) --cov $(ARGS)

faults: $(VENV)/.develop  ## try every fault many times, and write the table of the guarantees
	$(BIN)/python -m tests.faults $(ARGS)

soak: $(VENV)/.develop  ## ten minutes (MINUTES=n) of mixed work; memory and descriptors stay flat
	$(BIN)/python -m tests.faults.soak

check: $(VENV)/.develop  ## format, lint, types, who imports whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fuzz: $(VENV)/.fuzz  ## let a fuzzer think of messages: make fuzz SECONDS=60
	$(BIN)/python -m tests.fuzz $(SECONDS)
	KERNEL_RUNNER_FUZZ_EXAMPLES=$$(($(SECONDS) * 5)) \
		$(BIN)/python -m pytest tests/test_protocol_machine.py

bench: $(VENV)/.bench  ## measure, and print the figures
	$(BIN)/python -m benchmarks $(ARGS)

docs: $(VENV)/.docs  ## build the pages into build/docs; a warning is an error
	$(BIN)/mkdocs build --quiet --strict
	@echo "Read build/docs/index.html"

record: $(VENV)/.develop  ## write the walk, the help texts and the schemas anew
	$(BIN)/python -m tests.walk
	$(BIN)/python -m tests.schemas

clean:  ## remove all that was made, .venv too
	rm -rf $(VENV) build dist *.egg-info .coverage* .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis .fuzz
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: extras :=
$(VENV)/.develop: extras := [test,check]
$(VENV)/.fuzz:    extras := [test,fuzz]
$(VENV)/.bench:   extras := [bench]
$(VENV)/.docs:    extras := [docs]
# compat: a plain path instead of an import hook, which would cost every start of Python 10 ms
$(VENV)/.%: setup.cfg pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		--config-settings editable_mode=compat --editable '.$(extras)'
	@touch $@
