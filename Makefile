# Everything happens in .venv, made by the first target that needs it. `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN := $(BIN)/python -m

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-thorough test-all lint types docs check audit bench build clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

$(VENV)/installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("clipcli needs Python 3.10 or newer, this is " + sys.version.split()[0]) if sys.version_info < (3, 10) else None'
	$(PYTHON) -m venv $(VENV)
	$(RUN) pip install --quiet --disable-pip-version-check --editable .
	@touch $@

$(VENV)/dev: $(VENV)/installed
	$(RUN) pip install --quiet --disable-pip-version-check --upgrade 'pip>=25.1'   # which knows --group
	$(RUN) pip install --quiet --disable-pip-version-check --editable '.[all]' --group dev
	@touch $@

setup: $(VENV)/dev ## install clipcli with torch, and everything a developer needs, into .venv

demo: $(VENV)/installed ## install clipcli without torch and label example pictures, offline
	cd examples && ../$(BIN)/clipcli classify *.png \
		-l "apple,banana,car,cat,dog,fish,flower,house,red circle,sun,tree,umbrella" --model tiny --offline

test: $(VENV)/dev ## run the quick tests (less than two minutes on two cores)
	$(RUN) pytest --quiet --numprocesses 2 --dist loadfile

test-thorough: $(VENV)/dev ## run also the tests that take more than half a second each, as CI does
	$(RUN) pytest --quiet --numprocesses 2 --dist loadfile -m 'not slow'

test-all: $(VENV)/dev ## run all tests, the slow ones too
	$(RUN) pytest --quiet --numprocesses 2 --dist loadfile -m ''

lint: $(VENV)/dev ## ruff: rules and format
	$(RUN) ruff check .
	$(RUN) ruff format --check .

types: $(VENV)/dev ## mypy, strict
	$(RUN) mypy

docs: $(VENV)/dev ## write the generated parts of the documentation anew
	$(BIN)/python docs/generate.py

check: lint types test-thorough ## what has to pass before a change lands; the tests hold that the docs are current

audit: $(VENV)/dev ## compare the installed packages with the list of known holes (needs the network)
	$(RUN) pip_audit --skip-editable --progress-spinner off

bench: $(VENV)/dev ## measure against plain open_clip, on this machine (takes minutes)
	@for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

build: $(VENV)/dev ## build the wheel and the source distribution into dist/
	$(RUN) build --quiet --outdir dist .

clean: ## remove what the other targets made
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
