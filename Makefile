# Two commands do everything: `make demo` and `make test`. The environment lives in .venv.

PYTHON ?= python3.11
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
FAST := not e2e and not browser and not hub

.PHONY: demo test check setup clean browser bench

demo: $(READY)
	@$(BIN)/everbeat demo $(ARGS)

test: $(READY) browser
	$(BIN)/pytest $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q -m "$(FAST)" $(ARGS)

bench: $(READY)
	@for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python -m benchmarks.$$(basename $$script .py) || exit 1; done

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@scripts/need-python.sh $(PYTHON)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing (PyTorch for the processor alone is about 200 MB; set TORCH_INDEX to a CPU wheel index"
	@echo "if your package index would send the CUDA build of several GB instead)."
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "torch==2.13.0"
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	@touch $@

browser: $(READY)
	@scripts/need-browser.sh $(BIN)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist web/ui/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
