# Needs only Python 3.11 or newer. Everything is installed into .venv; stamp files inside it make
# a second call quick.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin

.PHONY: demo test bench lint stubs clean

## demo: train a network on real handwriting and show what it misreads
demo: $(VENV)/installed-demo
	$(BIN)/python examples/digits.py

## test: the whole suite, and every example in the documentation; a thread for each of two workers
test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(BIN)/python -m pytest -n 2

## bench: Iskra beside PyTorch (installed into .venv if it is not there)
bench: $(VENV)/installed-dev
	$(BIN)/python -c "import torch" 2>/dev/null || $(BIN)/python -m pip install -q torch==2.13.0
	$(BIN)/python -m benchmarks $(GROUPS)

## lint: style, import order, types of the public surface, stubs up to date
lint: $(VENV)/installed-dev
	$(BIN)/python -m ruff check .
	$(BIN)/python tools/stubs.py --check
	$(BIN)/python -m mypy

## stubs: write the .pyi files again, from the operator table
stubs: $(VENV)/installed-dev
	$(BIN)/python tools/stubs.py

clean:
	rm -rf $(VENV)

$(VENV)/bin/python:
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 11))" || { \
	  echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed-demo: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[viz]"
	@touch $@

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(BIN)/python -m pip install -q -e ".[dev]"
	@touch $@ $(VENV)/installed-demo
