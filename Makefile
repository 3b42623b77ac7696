# `make help` lists the targets. make needs Python 3.11 or newer, and uses uv if it is installed.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)
OLD_SDK := .venv-sdk-old
CLIENTS := tests/clients
FAST_PATH := vai/io/limits/_fast_path.c
NPM := $(shell command -v npm 2>/dev/null)
PARALLEL := -n auto --maxprocesses 8 --dist worksteal

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1
# The tests start hundreds of processes; without bytecode each compiles its modules anew.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help run test fast clients check fmt bench docs lock catalogue-diff clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.server ## serve on 127.0.0.1:8080, without auth, providers without a key simulated
	@VAI_CONFIG="$${VAI_CONFIG:-demo.toml}" exec $(BIN)/vai serve

# The pure tests run in parallel; pytest measures the coverage of all but the exhaustive ones. The
# others start processes, listen on ports and measure time, so they run one after the other.
test: $(VENV)/.dev $(OLD_SDK)/.done clients ## run all tests; ARGS="tests/io -k pool" runs some
ifdef ARGS
	$(BIN)/pytest $(ARGS)
else
	$(BIN)/pytest -m "pure and not exhaustive" $(PARALLEL) --cov=vai
	$(BIN)/pytest -m "pure and exhaustive" $(PARALLEL)
	$(BIN)/pytest -m "not pure"
endif

fast: $(VENV)/.dev ## run the pure tests without the exhaustive ones, in about a minute
	$(BIN)/pytest -q -m "pure and not exhaustive" $(PARALLEL) $(ARGS)

clients: $(CLIENTS)/node_modules/.done ## install the npm packages of the client tests (620 MB)

check: $(VENV)/.dev ## lint, formatting, types, import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/.dev ## format, and fix what the linter can fix
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

bench: $(VENV)/.dev ## compare the gateway with nginx and with bare Sanic
	$(BIN)/python -m bench $(ARGS)

docs: $(VENV)/.dev ## generate the pages that come from the source
	$(BIN)/python -m vai.config.reference docs/configuration.md
	$(BIN)/python -m vai.cli.pages docs/FEATURE_MATRIX.md vai/catalogue/models.schema.json README.md

lock: ## resolve the dependencies anew (needs uv)
	uv lock
	uv export -q --frozen --no-emit-project --extra server -o requirements/server.txt
	uv export -q --frozen --no-emit-project --extra server --extra redis --group dev -o requirements/dev.txt
	uv pip compile -q --universal --python-version 3.11 --generate-hashes \
		tests/sdk/requirements-old.in -o tests/sdk/requirements-old.txt
	cd $(CLIENTS) && npm install --package-lock-only

catalogue-diff: $(VENV)/.dev ## compare the catalogue with public price lists (needs PyPI)
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
	@$(BIN)/python -m tools.catalogue_diff

clean: ## remove what was installed and built
	rm -rf $(VENV) $(OLD_SDK) $(CLIENTS)/node_modules build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -f vai/io/limits/_fast_path.*.so
	find . -name .git -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# With the stamps below make installs once per change of the locks.

$(VENV)/.server: uv.lock pyproject.toml requirements/server.txt $(FAST_PATH)
	$(call install,--extra server,requirements/server.txt)

$(VENV)/.dev: uv.lock pyproject.toml requirements/dev.txt $(FAST_PATH)
	$(call install,--extra server --extra redis --group dev,requirements/dev.txt)
	@touch $(VENV)/.server

$(OLD_SDK)/.done: tests/sdk/requirements-old.txt | $(VENV)/.dev
	@rm -rf $(OLD_SDK)
ifneq ($(UV),)
	@$(UV) pip install -q --python $(BIN)/python --target $(OLD_SDK) --require-hashes -r $<
else
	@$(BIN)/python -m pip install -q --target $(OLD_SDK) --require-hashes -r $<
endif
	@touch $@

# Without npm, or when npm fails, pytest skips the tests of these clients with a line.
$(CLIENTS)/node_modules/.done: $(CLIENTS)/package-lock.json
ifneq ($(NPM),)
	@cd $(CLIENTS) && { timeout 300 npm ci --loglevel=error >/dev/null && touch node_modules/.done; } \
		|| echo "make: npm ci failed; going on without the clients of npm" >&2
endif

# Compiles the modules once; every starting worker would, where Python may not write bytecode.
# The fast path of the limits is C: without a compiler its script prints a line.
compile = $(BIN)/python tools/compile_fast_path.py && $(BIN)/python -m compileall -q vai

# $(1): the arguments of uv; $(2): the same as a list for pip. The lists are complete, so pip
# resolves nothing: pytest-sanic's upper bound of websockets would be a conflict.
ifneq ($(UV),)
define install
@$(UV) sync -q --frozen --inexact $(1)
@$(compile)
@touch $@
endef
else
define install
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "make: $(PYTHON) is older than 3.11; try make PYTHON=python3.12" >&2; exit 1; }
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) \
	|| { echo "make: Python has no venv; on Debian: apt-get install python3-venv" >&2; exit 1; }
@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null
@$(BIN)/python -m pip install -q --no-warn-conflicts --no-deps --require-hashes -r $(2)
@$(BIN)/python -m pip install -q --no-warn-conflicts --no-deps --editable .
@$(compile)
@touch $@
endef
endif
