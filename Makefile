# One command for each task. `make help` lists them.
# Works with GNU make 3.81, the version that comes with macOS.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check -qq install --require-hashes

# Prerequisites. Python comes first: if it was upgraded, the virtual environment is created again
# before its stamps are checked.
TO_RUN := $(BIN)/python $(VENV)/.run
TO_TEST := $(BIN)/python $(VENV)/.dev

# `auto` is one process more than there are cores, because tests wait for the processes that they
# start.
PYTEST := $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist worksteal

.DEFAULT_GOAL := help

.PHONY: help
help:  ## List these targets
	@awk -F ':.*## ' '/^[a-z.-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: run
run: $(TO_RUN)  ## Start the app; without Katana credentials also the sandbox
	@$(BIN)/python -m app.operations.start

# SIGTERM reaches gunicorn, and make ends after it.
.PHONY: serve
serve: $(TO_RUN)  ## Serve it for real: migrations, then gunicorn; takes no sandbox
	@exec $(BIN)/python -m app.operations.serve

.PHONY: test
test: $(TO_TEST)  ## Run every test this machine can run, except the long ones
	@$(PYTEST)

.PHONY: test-slow
test-slow: $(TO_TEST)  ## Run the long tests too, which take out one guard after the other
	@$(PYTEST) -m "slow or not slow"

.PHONY: test-browsers
test-browsers: $(TO_TEST)  ## Run the journey in Firefox and WebKit too (firefox-esr, webkit2gtk-driver, xvfb)
	@$(BIN)/python -m pytest -m engines tests/pages/test_engines.py

.PHONY: bench
bench: $(BENCH)/.ready  ## Measure beside what one would use instead (30 min; QUICK=1: a few)
	@$(BENCH)/bin/python -W "ignore:XDG_RUNTIME_DIR" -m benchmarks $(if $(QUICK),--quick)

.PHONY: several-hosts
several-hosts: $(TO_TEST)  ## Put several hosts in trouble and write it into benchmarks/RESULTS.md (root)
	@$(BIN)/python -m benchmarks.several_hosts

.PHONY: coverage
coverage: $(TO_TEST)  ## Run the tests and name the lines and branches they miss
	@$(PYTEST) --cov --cov-report=term-missing:skip-covered

.PHONY: check
check: $(TO_TEST)  ## Check format, lint and types
	@$(BIN)/python -m ruff format --check --quiet .
	@$(BIN)/python -m ruff check --quiet .
	@$(BIN)/python -m mypy

# Without --strict it passes also if it could check nothing. The locks are used as they are: only
# the tool itself is installed.
.PHONY: audit
audit:  ## Ask whether a locked version has a known advisory (needs uv and the network)
	@uvx pip-audit --strict --disable-pip --requirement requirements.txt --requirement requirements-dev.txt --requirement requirements-tracing.txt --requirement requirements-celery.txt

.PHONY: format
format: $(TO_TEST)  ## Format the code and fix what lint can fix
	@$(BIN)/python -m ruff format --quiet .
	@$(BIN)/python -m ruff check --quiet --fix .

.PHONY: dev
dev: $(TO_TEST)  ## Prepare the virtual environment for tests and checks

.env: | $(TO_RUN)  ## Write .env with fresh secrets, for a server of your own
	@$(BIN)/python -m app.operations.start --env-only

# uv resolves for all platforms at once, which pip cannot. Only this target needs it.
LOCK := uv pip compile --quiet --universal --generate-hashes --no-strip-extras --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"

.PHONY: lock
lock:  ## Write the locks anew (needs uv); UPGRADE=1 takes newer versions
	$(LOCK) $(if $(UPGRADE),--upgrade) requirements.in --output-file requirements.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) requirements-tracing.in --output-file requirements-tracing.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) requirements-celery.in --output-file requirements-celery.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) requirements-dev.in --output-file requirements-dev.txt
	$(LOCK) $(if $(UPGRADE),--upgrade) benchmarks/requirements.in --output-file benchmarks/requirements.txt

.PHONY: clean
clean:  ## Remove the virtual environment and every cache; keeps .env and instance/
	@rm -rf $(VENV) $(BENCH) .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# After an upgrade of Python this is a dangling link, which make treats as missing.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo "Python 3.11 or newer is needed and '$(PYTHON)' is not: name another one," \
			"for example: make PYTHON=python3.13 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo "'$(PYTHON)' cannot make virtual environments." \
			"On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "Making a virtual environment in $(VENV) (once) ..."
	@$(PYTHON) -m venv --clear $(VENV)

# Because of the stamps, a second `make` installs nothing.
$(VENV)/.run: requirements.txt | $(BIN)/python
	@echo "Installing what the app needs (once) ..."
	@$(PIP_INSTALL) -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt | $(BIN)/python
	@echo "Installing what tests and checks need (once) ..."
	@$(PIP_INSTALL) -r requirements-dev.txt
	@touch $(VENV)/.run $@

# The alternatives in the benchmark have their own virtual environment.
$(BENCH)/.ready: benchmarks/requirements.txt | $(BIN)/python
	@echo "Installing what is measured beside this app (once) ..."
	@$(BIN)/python -m venv --clear $(BENCH)
	@$(BENCH)/bin/python -m pip --disable-pip-version-check -qq install --require-hashes -r $<
	@touch $@
