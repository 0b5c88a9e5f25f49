# Two commands matter: `make demo` and `make test`. `make help` lists the rest.

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
export DAGSTER_HOME := $(CURDIR)
export PYTHONUNBUFFERED := 1
# Where pip also looks for the CPU build of torch: needed where the indexes it is set up with do not have it.
TORCH_CPU_INDEX ?=
EXTRA_INDEX := $(if $(TORCH_CPU_INDEX),--extra-index-url $(TORCH_CPU_INDEX))

.PHONY: help demo test test-slow lap ui bench lint lock environment clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

demo: $(READY) ## turn one whole week of support_desk on a real model (about 20 minutes)
	@$(BIN)/flywheel demo

test: $(READY) ## the default tests, under 8 minutes
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(READY) ## the slower tests, under 40 minutes
	$(BIN)/python -m pytest -m slow

lap: $(READY) ## the same week with a tiny random-weight model: the edit-run cycle
	@$(BIN)/flywheel lap

ui: $(READY) ## the Dagster UI on the same instance, http://127.0.0.1:3000
	@$(BIN)/flywheel ui

bench: $(READY) ## measure what the project answers for; writes .flywheel/bench.json
	@$(BIN)/flywheel bench

lint: $(READY) ## ruff and pyright
	$(BIN)/ruff check flywheel flywheel_tests
	$(BIN)/ruff format --check flywheel flywheel_tests
	$(BIN)/pyright --pythonpath $(BIN)/python

environment: $(READY) ## make the Python environment in .venv

$(READY): requirements-cpu.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: install it, or say PYTHON=/path/to/python3.11"; exit 1; }
	@echo "making the environment in $(VENV) (about 2 minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-deps $(EXTRA_INDEX) -r requirements-cpu.lock || { \
	  echo "if it is torch 2.13.0+cpu that pip did not find: name PyTorch's package index for CPU builds, as in"; \
	  echo "  make $(or $(MAKECMDGOALS),environment) TORCH_CPU_INDEX=https://..."; exit 1; }
	@$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)

lock: ## resolve requirements-cpu.lock anew from pyproject.toml (needs uv)
	printf 'torchvision; sys_platform == "never"\ntorchaudio; sys_platform == "never"\ntorchcodec; sys_platform == "never"\n' > .lock-overrides
	uv pip compile pyproject.toml --extra cpu --extra dev --override .lock-overrides --python-version 3.11 \
	  $(EXTRA_INDEX) --no-annotate --no-header -o requirements-cpu.lock
	rm .lock-overrides

clean: ## remove the environment, the lake and the Dagster instance
	rm -rf $(VENV) .flywheel .dagster
