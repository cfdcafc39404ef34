# Python 3.10 to 3.13. Everything is set up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Where real data lies, for the tests that use it; they are skipped without.
export SPACY_RNN_DATA ?=

.PHONY: quickstart test test-slow lint bench clean

quickstart: $(VENV)/.installed
	cd projects/quickstart && ../../$(BIN)/python -m spacy project run all --force

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "slow or gpu"

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-bench
	cd projects/benchmark && ../../$(BIN)/python -m spacy project run all

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -rf projects/*/corpus projects/*/training projects/*/metrics

$(VENV)/.installed: setup.cfg constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[test]"
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[bench]"
	touch $@
