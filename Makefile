# Every target does its own set-up: a virtual environment in .venv, the locked packages, and tshark from the
# distribution. A second run finds the stamps in .venv and starts at once.
#
#   make demo    learn, detect and report on the bundled captures
#   make test    lint, types, docs and tests
#   make lint    lint, types and docs only
#   make bench   throughput of both engines against tshark and pyshark
#   make lock    resolve the requirements anew
#   make clean   remove what these targets made
#   sudo make install     the sensor as a service (DESTDIR, PREFIX: see systemd/install.mk)
#   sudo make uninstall   take it away; PURGE=1 with configuration and stores

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo test lint bench lock clean tshark netlab sinklab

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-out
WORKERS ?= 2
TESTS ?= tests
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The lock files list a hash for every file; --no-deps because they also list every dependency.
LOCKED := install --quiet --require-hashes --no-deps

help:
	@sed -n 's/^#   //p' Makefile

demo: $(VENV)/.run tshark
	$(BIN)/gridwarden demo --out $(DEMO_OUT)

test: lint tshark netlab sinklab
	@echo "== tests"
	$(BIN)/python -m pytest -n $(WORKERS) -q $(TESTS)
	@echo "== all good: lint, types, docs, tests"

lint: $(VENV)/.dev
	@echo "== ruff"
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@echo "== mypy"
	$(BIN)/mypy
	@echo "== docs"
	$(BIN)/python docs/cli_reference.py --check

bench: $(VENV)/.dev tshark
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo-out build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find sensor detectors grid_profiles tests benchmarks docs -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

lock: $(VENV)/.created
	$(PIP) install --quiet pip-tools
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header \
	  --build-deps-for editable --no-emit-index-url --no-emit-find-links -o requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe --no-header --extra dev --extra lab \
	  --no-emit-index-url --no-emit-find-links -c requirements.lock -o requirements-dev.lock pyproject.toml

# --- set-up -----------------------------------------------------------------------------------------------

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed: sudo apt-get install -y python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  command="apt-get install -y --no-install-recommends python3-venv"; \
	  if [ "$$(id -u)" = 0 ]; then apt-get update -q && DEBIAN_FRONTEND=noninteractive $$command; \
	  elif sudo -n true 2>/dev/null; then sudo apt-get update -q && sudo DEBIAN_FRONTEND=noninteractive $$command; \
	  else echo "venv is missing and there is no right to install it. Run: sudo $$command"; exit 1; fi; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.run: $(VENV)/.created requirements.lock pyproject.toml
	@echo "== packages (a few minutes the first time)"
	$(PIP) $(LOCKED) -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: $(VENV)/.run requirements-dev.lock
	$(PIP) $(LOCKED) -r requirements-dev.lock
	@touch $@

# The tests of live capture lay a cable between two network namespaces; without these packages they are skipped.
netlab:
	@{ command -v ip && command -v sysctl && ldconfig -p | grep libpcap.so; } >/dev/null 2>&1 && exit 0; \
	command="apt-get install -y --no-install-recommends iproute2 procps libpcap0.8"; \
	if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive $$command || echo "could not be installed: $$command"; \
	elif sudo -n true 2>/dev/null; then \
	  sudo apt-get update -q && sudo DEBIAN_FRONTEND=noninteractive $$command || echo "Run: sudo $$command"; \
	else \
	  echo "NOTE: the tests of live capture are skipped: they need root, and sudo $$command"; \
	fi

# The tests of the sinks start real servers on loopback, as processes of their own; without these packages they are
# skipped. Only the programs are wanted: RUNLEVEL=1 tells invoke-rc.d to start no service.
sinklab:
	@missing=""; PATH="$$PATH:/usr/sbin:/sbin"; \
	for pair in influxd:influxdb nginx:nginx-light victoria-metrics:victoria-metrics mosquitto:mosquitto \
	            openssl:openssl; do \
	  command -v "$${pair%%:*}" >/dev/null || missing="$$missing $${pair##*:}"; \
	done; \
	[ -z "$$missing" ] && exit 0; \
	command="apt-get install -y --no-install-recommends$$missing"; \
	if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -q && RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive $$command || echo "could not be installed: $$command"; \
	elif sudo -n true 2>/dev/null; then \
	  sudo apt-get update -q && sudo RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive $$command || echo "Run: sudo $$command"; \
	else \
	  echo "NOTE: the tests of the sinks against real servers are skipped. Run: sudo $$command"; \
	fi

# tshark reads what the native engine does not; without it the rest still works, so a lack of rights is no error.
tshark:
	@command -v tshark >/dev/null && exit 0; \
	command="apt-get install -y --no-install-recommends tshark"; \
	if [ "$$(id -u)" = 0 ]; then \
	  apt-get update -q && DEBIAN_FRONTEND=noninteractive $$command || echo "tshark could not be installed: $$command"; \
	elif sudo -n true 2>/dev/null; then \
	  sudo apt-get update -q && sudo DEBIAN_FRONTEND=noninteractive $$command || echo "Run: sudo $$command"; \
	else \
	  echo "NOTE: tshark is missing and there is no right to install it; protocols without a native decoder"; \
	  echo "      are not read, and their tests are skipped. Run: sudo $$command"; \
	fi

include systemd/install.mk
