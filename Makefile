# mrsim: `make demo` runs the demonstration study, `make test` the quick tests. `make help` lists the rest.
# Needs make, bash and Python >= 3.11 with its venv module; everything else is installed into .venv.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
OUT ?= demo
JOBS ?= $(shell nproc 2>/dev/null || echo 2)
# A test process can take 1 GB: more than eight would not fit everywhere.
TEST_JOBS ?= $(shell n=$$(nproc 2>/dev/null || echo 2); echo $$(( n > 8 ? 8 : n )))
PYTEST_ARGS ?=
BENCH_ARGS ?=

BIN := $(VENV)/bin
INPUTS := pyproject.toml constraints.txt
# Processes are the parallelism: one thread each for every numerical library.
ONE_THREAD := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 NUMBA_NUM_THREADS=1
# pip's long output cut to one line a package; errors come whole, on standard error.
PIP = $(BIN)/python -m pip install --disable-pip-version-check --no-input -c constraints.txt
SHORT := sed -u -n -e 's/^Collecting \([^ ]*\).*/  \1/p' -e 's,^Processing .*/\(.*\.whl\).*,  \1,p' -e 's/^\(Installing collected packages\).*/\1 .../p'

.PHONY: help setup demo test test-all check bench docs clean distclean

help:  ## show this list
	@sed -n -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

setup: $(VENV)/.stamp-base  ## install mrsim into .venv

demo: $(VENV)/.stamp-kernels  ## simulate, harmonize and score six traveling subjects; ends with the report's path
	@$(BIN)/mrsim run mrsim/studies/library/demo.toml --out $(OUT) --jobs $(JOBS)
	@test -s $(OUT)/report.html || { echo "no report in $(OUT)" >&2; exit 1; }
	@echo "Open in a browser: $(abspath $(OUT))/report.html"

test: $(VENV)/.stamp-dev  ## quick tests
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(TEST_JOBS) -q $(PYTEST_ARGS)

test-all: $(VENV)/.stamp-dev  ## quick and slow tests
	$(ONE_THREAD) $(BIN)/python -m pytest -n $(TEST_JOBS) -q -m "not gpu" $(PYTEST_ARGS)

check: $(VENV)/.stamp-dev  ## lint, format, types, import contracts, content of the wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@rm -rf build/wheel
	@mkdir -p build
	$(BIN)/pyproject-build --no-isolation --outdir build/wheel . > build/log 2>&1 || { cat build/log >&2; exit 1; }
	$(BIN)/check-wheel-contents build/wheel/*.whl

bench: $(VENV)/.stamp-dev  ## measure speed; table on screen, numbers in benchmarks/results.json
	$(ONE_THREAD) $(BIN)/python -m benchmarks $(BENCH_ARGS)

docs: $(VENV)/.stamp-docs  ## build the documentation into docs/_build/html
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "Open in a browser: $(abspath docs/_build/html/index.html)"

clean:  ## remove what can be built again, but not .venv
	rm -rf build dist *.egg-info docs/_build docs/generated .mypy_cache .ruff_cache .pytest_cache \
		.import_linter_cache .hypothesis benchmarks/results.json
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean  ## remove .venv and the demo's output too
	rm -rf $(VENV) $(OUT)

$(BIN)/python:
	@python=""; for name in python3.11 python3 python3.12 python3.13 python3.14; do \
		if command -v $$name > /dev/null && $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2> /dev/null; \
		then python=$$name; break; fi; done; \
	if [ -z "$$python" ]; then \
		echo "mrsim needs Python 3.11 or later; found $$(python3 --version 2>&1 || true)." >&2; \
		echo "Debian and Ubuntu: apt install python3.11 python3.11-venv" >&2; exit 1; fi; \
	echo "Making $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV) || { rm -rf $(VENV); \
		echo "The venv module does not work. Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

# Stamps, so that setup runs once, and again when the requirements change.
# The compiled kernels are kept in the package's __pycache__; a tiny study compiles them all, once.
$(VENV)/.stamp-kernels: $(VENV)/.stamp-base
	@echo "Compiling kernels on a tiny study ..."
	@rm -rf build/first
	@$(BIN)/mrsim run mrsim/studies/library/tiny.toml --out build/first --jobs $(JOBS) --quiet
	@rm -rf build/first
	@touch $@

$(VENV)/.stamp-base: $(INPUTS) | $(BIN)/python
	@echo "Installing mrsim and what it needs into $(VENV) (about 600 MB, some minutes)"
	@$(PIP) -e . | $(SHORT)
	@touch $@

$(VENV)/.stamp-dev: $(INPUTS) | $(BIN)/python
	@echo "Installing mrsim with what its tests need into $(VENV)"
	@$(PIP) -e '.[dev]' | $(SHORT)
	@touch $@ $(VENV)/.stamp-base

$(VENV)/.stamp-docs: $(INPUTS) | $(BIN)/python
	@echo "Installing what the documentation needs into $(VENV)"
	@$(PIP) -e '.[docs]' | $(SHORT)
	@touch $@ $(VENV)/.stamp-base
