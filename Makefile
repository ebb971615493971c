# Every target makes .venv by itself, from requirements.lock, and again whenever the lock changes.
#
#   make lab [ARGS="--fresh ..."]     the whole lab on loopback; Ctrl-C ends it
#   make test [REQUIRE_INTEROP=1]     all checks and tests; with the 1, a real program that is missing is a failure
#   make bench | fuzz | soak          ratios against real peers | long property tests | long random repetition
#   make docs | format | lock | clean
#
# ARGS goes to the command that a target runs; PYTHON is the interpreter that .venv is made with.

PYTHON ?= python3
ARGS ?=
WORKERS ?= auto
REQUIRE_INTEROP ?=
export REQUIRE_INTEROP

BIN := .venv/bin
READY := .venv/ready
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PYTEST := $(BIN)/python -m pytest
SPREAD := -n $(WORKERS) --dist worksteal

.DEFAULT_GOAL := help
.PHONY: help lab test check bench fuzz soak docs format lock clean

help:
	@sed -n 's/^#   //p' Makefile

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Ghostports needs Python 3.11 or later; name one with make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	@# Without pip it is what a failed attempt left, as on a Debian without python3-venv.
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

lab: $(READY)
	@$(BIN)/ghostports lab $(ARGS)

check: $(READY)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict
	$(BIN)/lint-imports

# The transport runs twice: here on uvloop, then, with everything else, on Twisted's own reactor. The whole
# suite comes last, so that its closing line is the last one printed.
test: check
	$(PYTEST) tests/transport --reactor=asyncio $(SPREAD) --cov --cov-report= -q
	$(PYTEST) $(SPREAD) --cov --cov-append --cov-report=term $(ARGS)

bench: $(READY)
	$(PYTEST) tests/benchmarks -p no:xdist --benchmark-json=benchmark.json $(ARGS)

fuzz: $(READY)
	$(PYTEST) -m hypothesis --hypothesis-profile=fuzz $(SPREAD) $(ARGS)

soak: $(READY)
	$(PYTEST) -m soak --soak $(SPREAD) $(ARGS)

docs: $(READY)
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

format: $(READY)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# One lock for Python 3.11 to 3.14 on every platform, without the address of any index in it.
lock:
	$(PYTHON) -m venv .venv/lock
	.venv/lock/bin/python -m pip --disable-pip-version-check --quiet install 'uv>=0.5,<1'
	.venv/lock/bin/uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --custom-compile-command 'make lock' \
		--output-file requirements.lock $(ARGS)

clean:
	rm -rf .venv .coverage .coverage.* benchmark.json dist docs/_build .benchmarks .hypothesis
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
