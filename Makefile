# Every target sets itself up in .venv: Python 3.11 or newer, pip and a package index are all it takes.

VENV := .venv
PEERS := .venv-peers
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
EVAL ?= all
ENGINE ?= $(if $(filter all,$(EVAL)),vllm,embedded)

# As many tests at once as there are cores, four at most: each process brings an encoder and indexes of its own.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist worksteal
# What only the wheel can break: a file that is missing in it, a module that does not load, an example of the README, a run.
WHEEL_TESTS := tests/test_docs.py tests/test_exported_members.py tests/test_prompting.py tests/test_report.py \
	tests/test_cli.py tests/test_relabel_command.py tests/integration/test_attribute_run.py

.PHONY: help demo check quick test test-vllm test-browser test-extras wheel-test evals

help:
	@echo "make demo          rebalance real reviews with the embedded model and show where the report is"
	@echo "make check         format, lint, types, import directions"
	@echo "make quick         lint, types and the tests that need no weights, no server and no child process: a minute"
	@echo "make test          all tests but those that need a browser, vLLM or other people's libraries"
	@echo "make test-vllm     the tests on real vLLM, on the CPU; builds it in .venv-vllm (3.4 GB)"
	@echo "make test-browser  the pages in Chromium"
	@echo "make test-extras   what torch and other people's libraries make of it; builds .venv-extras"
	@echo "make wheel-test    imports, pages, the README's examples and a run from the built wheel, outside the checkout"
	@echo "make evals         every evaluation, resumable; EVAL=name for one, EVAL=list names them; ARGS='--data DIR --quick';"
	@echo "                   all of them with texts by vLLM on the CPU (built in .venv-vllm); ENGINE=embedded does without"

demo: $(VENV)/.demo
	$(BIN)/counterpoise run examples/demo.yaml --output runs/demo-$$(date +%Y%m%d-%H%M%S)

check: $(VENV)/.dev
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

quick: $(VENV)/.dev
	$(BIN)/ruff format --check --quiet
	$(BIN)/ruff check --quiet
	$(BIN)/mypy
	$(BIN)/python -m pytest -q $(SIDE_BY_SIDE) -m "not (assets or data or slow or processes or browser or vllm or extras)"

test: $(VENV)/.dev
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) -m "not browser and not vllm and not extras"

# tests/vllm_environment.py keeps a stamp of its own: what is there and right is not built again.
test-vllm: $(VENV)/.dev
	$(BIN)/python -m tests.vllm_environment
	COUNTERPOISE_REQUIRE_VLLM=1 $(BIN)/python -m pytest -m vllm

test-browser: $(VENV)/.dev
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; \
	then apt-get update -qq && apt-get install -y -qq chromium; \
	else echo "Chromium is not installed (Debian: apt-get install chromium)" >&2; exit 1; fi
	COUNTERPOISE_REQUIRE_BROWSER=1 $(BIN)/python -m pytest -m browser

# Each environment under .venv-extras keeps a stamp of its own (tests/extras_environments.py).
test-extras: $(VENV)/.dev
	$(BIN)/python -m tests.extras_environments
	COUNTERPOISE_REQUIRE_EXTRAS=1 $(BIN)/python -m pytest -m extras

# Only files that git knows take part: the wheel is built from a copy of them; then the sources leave that copy,
# and its tests can only meet what was installed.
wheel-test: $(VENV)/bin/python
	@set -eu; work=$$(mktemp -d); trap 'rm -rf "$$work"' EXIT; trap 'exit 130' INT TERM; mkdir "$$work/copy"; \
	git ls-files | tar -cf - -T - | tar -xf - -C "$$work/copy"; \
	$(PIP) wheel --quiet --no-deps --wheel-dir "$$work/dist" "$$work/copy"; \
	cd "$$work/copy"; rm -rf agent retrievers prompts; cd "$(CURDIR)"; \
	$(BIN)/python -m venv "$$work/venv"; \
	"$$work/venv/bin/python" -m pip --disable-pip-version-check install --quiet "$$(echo "$$work"/dist/*.whl)[dev]"; \
	cd "$$work/copy"; \
	"$$work/venv/bin/python" -c 'import counterpoise, sys; assert counterpoise.__file__.startswith(sys.prefix)'; \
	"$$work/venv/bin/python" -m pytest $(SIDE_BY_SIDE) -m "not data" $(WHEEL_TESTS)

evals: $(VENV)/.eval $(if $(filter all peers,$(EVAL)),$(PEERS)/.peers)
	COUNTERPOISE_PEERS_PYTHON="$(CURDIR)/$(PEERS)/bin/python" $(BIN)/python -m evals $(EVAL) --engine $(ENGINE) $(ARGS)

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The stamps depend on pyproject.toml, so that a changed dependency is installed at the next call.
$(VENV)/.demo: pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV); the first time this takes some minutes."
	$(PIP) install --quiet -e ".[embedded]"
	@touch $@

$(VENV)/.dev: pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV); the first time this takes some minutes."
	$(PIP) install --quiet -e ".[dev]"
	@touch $@ $(VENV)/.demo

# distilabel pins what ours must not.
$(PEERS)/.peers: Makefile
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip --disable-pip-version-check install --quiet "distilabel[openai]==1.5.3" requests
	@touch $@

# torch among it, for what is trained and for sentence-transformers beside us.
$(VENV)/.eval: pyproject.toml | $(VENV)/bin/python
	@echo "Installing into $(VENV); the first time this takes some minutes."
	$(PIP) install --quiet -e ".[dev,eval]"
	@touch $@ $(VENV)/.dev $(VENV)/.demo
