PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run reproduce figures test test-slurm test-faults lint clean

help:  ## show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-10s %s\n", $$1, $$2}'

# torch comes first and pinned: an open range would bring gigabytes of CUDA packages to a laptop.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

setup: $(VENV)/.installed  ## make .venv with every dependency, pinned

run: setup  ## the main job: Figure 4d on real text (ARGS="architecture=mixer,transformer seed=0,1,2" to widen it)
	$(BIN)/python -m memlab.run +experiment=copy_curriculum $(ARGS)

reproduce: setup  ## all experiments, one after another (ARGS="architecture=mixer,transformer seed=0,1,2"); resumable
	$(BIN)/python -m memlab.reproduce $(ARGS)

test: setup  ## run the tests
	$(BIN)/python -m pytest -n 2 $(ARGS)

test-slurm: setup  ## set up a SLURM of one node on this machine (root, Debian packages) and run its tests
	tests/slurm/up.sh
	SLURM_TESTS=1 $(BIN)/python -m pytest tests/slurm $(ARGS)

KILLS ?= 100
test-faults: setup  ## kill -9 at KILLS random moments of an experiment
	$(BIN)/python -m tests.faults --kills $(KILLS)

lint: setup  ## format check, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

figures: setup  ## redraw every table and picture, from finished runs or else the committed results (ARGS="scale=gpu")
	$(BIN)/python -m memlab.report --all $(ARGS)

clean:  ## remove .venv and caches; runs/ is left alone
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
