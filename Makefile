# make repro and make test are all that a fresh machine with git, make and Python >= 3.11 needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

BENCH := .venv-bench

.PHONY: help repro paper plots compare bench test test-system check format clean-venv
help:                ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

repro: $(VENV)/.run  ## set up, then run the pipeline: everything that is not up to date
	dvc repro

paper: $(VENV)/.run  ## set up, then compare FAST with block training: reports/fast_vs_block.md
	python src/fast_vs_block.py

plots: $(VENV)/.dev  ## set up, then DVC's plots of revisions A and B, or of the working tree: dvc_plots/offline.html
	PYTHONPATH=src python tools/offline_plots.py $(A) $(B)

compare: $(VENV)/.run  ## compare two revisions or experiments: make compare A=main~1 B=my-experiment
	python src/compare_runs.py $(A) $(B)

bench: $(BENCH)/.run ## set up beside .venv, then measure ours and its peers: BENCHMARKS.md; RUN='training --settings S1'
	$(BENCH)/bin/python benchmarks/run.py $(RUN)
	$(BENCH)/bin/python benchmarks/report.py

test: export OMP_NUM_THREADS := 1
test: $(VENV)/.dev   ## set up, then run the tests, a process of one thread per core
	python -m pytest -q -n auto --dist loadfile --no-loadscope-reorder

test-system: $(VENV)/.dev ## set up, then run the tests that need the system's browser (chromium)
	python -m pytest -q -m system

check: $(VENV)/.dev  ## format, lint, types, import layers
	ruff format --check .
	ruff check .
	basedpyright
	PYTHONPATH=src lint-imports

format: $(VENV)/.dev ## format and sort imports
	ruff format .
	ruff check --fix .

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python >= 3.11 is needed, $(PYTHON) is older; run: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: requirements.txt constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt requirements.txt constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@ $(VENV)/.run

# torch first, so that the peers take the one that is there; torchvision, which they pull in, breaks beside a CPU torch
$(BENCH)/.run: benchmarks/requirements.txt requirements.txt constraints.txt
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check $(shell grep ^torch== requirements.txt)
	$(BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/requirements.txt
	$(BENCH)/bin/python -m pip uninstall --quiet --yes torchvision
	@touch $@

clean-venv:          ## remove the environments
	rm -rf $(VENV) $(BENCH)
