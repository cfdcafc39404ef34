# Python 3.10 to 3.13. Everything is set up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What is compiled, and has to be again where it changed.
SOURCES := $(filter-out %/_kernels.c,$(wildcard spacy_rnn/kernels/*.[ch])) \
	spacy_rnn/kernels/_kernels.pyx
# Where real data lies, for the tests that use it; they are skipped without.
export SPACY_RNN_DATA ?=

.PHONY: quickstart test test-slow lint docs bench clean

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
	$(BIN)/lint-imports --no-cache --no-logo

docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env -c docs . build/docs
	@echo "Built build/docs/docs/index.html"

bench: $(VENV)/.installed-bench
	cd projects/benchmark && ../../$(BIN)/python -m spacy project run all

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	rm -f spacy_rnn/kernels/_kernels.c spacy_rnn/kernels/*.so
	rm -rf projects/*/corpus projects/*/training projects/*/metrics

$(VENV)/.installed: setup.cfg setup.py pyproject.toml constraints.txt $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --constraint constraints.txt --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[test]"
	touch $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[docs]"
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --constraint constraints.txt --editable ".[bench]"
	touch $@
