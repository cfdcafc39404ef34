# Python 3.10 to 3.13. Everything is set up in .venv.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What is compiled, and has to be again where it changed.
SOURCES := $(filter-out %/_kernels.c,$(wildcard spacy_rnn/kernels/*.[ch])) \
	spacy_rnn/kernels/_kernels.pyx
# Where real data lies, for the tests that use it; they are skipped without.
export SPACY_RNN_DATA ?=
# For a machine with a GPU: a folder of wheels, and the version of Python there.
WHEELS ?= wheels
GPU_PYTHON ?= 3.12

.PHONY: quickstart test test-slow test-runtime sanitize wheels test-gpu soak soak-serve soak-pipe lint docs \
	bench clean

quickstart: $(VENV)/.installed
	cd projects/quickstart && ../../$(BIN)/python -m spacy project run all --force

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "slow or gpu"

# The package with kernels under ASan and UBSan, and the tests beside it, in a directory of their own
SANITIZED := build/sanitized
sanitize: $(VENV)/.installed-test
	rm -rf $(SANITIZED) build/sanitize
	SPACY_RNN_SANITIZE="-g -fsanitize=address,undefined -fno-sanitize-recover=undefined" \
		$(BIN)/python -m pip install --no-deps --target $(SANITIZED) .
	cp -r tests $(SANITIZED)
	cd $(SANITIZED) && LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) PYTHONMALLOC=malloc \
		ASAN_OPTIONS=detect_leaks=0 $(CURDIR)/$(BIN)/python -m pytest -c $(CURDIR)/pyproject.toml \
		--rootdir . tests/kernels tests/modules/crf tests/modules/parser tests/modules/seq2seq \
		tests/modules/rnn/test_layers.py

wheels:
	$(PYTHON) -m pip download --dest $(WHEELS) --requirement .ci/gpu-wheels.txt --no-deps \
		--only-binary :all: --python-version $(GPU_PYTHON) \
		--platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64

# PYTHON has torch with CUDA, cupy, pytest, hypothesis, Cython and a compiler. None of it is changed.
test-gpu:
	$(PYTHON) -m pip install --no-index --no-deps --upgrade --target build/gpu $(WHEELS)/*.whl
	$(PYTHON) setup.py --quiet egg_info build_ext --inplace
	PYTHONPATH=$(CURDIR)/build/gpu:$(CURDIR) $(PYTHON) -m pytest -m gpu

# Pipelines that are trained here load and predict the same in an environment without torch.
RUNTIME := build/runtime
test-runtime: $(VENV)/.installed-test
	rm -rf $(RUNTIME) && mkdir -p $(RUNTIME)/pipelines
	$(BIN)/python tests/data/make_pipelines.py $(RUNTIME)/pipelines
	$(BIN)/python -m venv $(RUNTIME)/venv
	$(RUNTIME)/venv/bin/python -m pip install --quiet "spacy>=3.8.7,<3.9" safetensors
	$(RUNTIME)/venv/bin/python -m pip install --quiet --no-deps .
	cd $(RUNTIME) && venv/bin/python $(CURDIR)/tests/check_runtime.py pipelines

# How long it lasts: the service under load, a tenth of the requests bad
soak: soak-serve soak-pipe

soak-serve: $(VENV)/.installed-serve
	cd projects/serve && ../../$(BIN)/python -m spacy project run all . \
		--vars.requests 100000 --vars.connections 64

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

# A million texts with ever new words: memory stays flat, and so does speed
soak-pipe: $(VENV)/.installed
	cd projects/scale && ../../$(BIN)/python -m spacy project run train
	cd projects/scale && ../../$(BIN)/python -m spacy project run soak

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

$(VENV)/.installed-serve: $(VENV)/.installed projects/serve/requirements.txt
	$(BIN)/python -m pip install --requirement projects/serve/requirements.txt httpx
	touch $@
