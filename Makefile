# Two commands do everything: `make demo` and `make test`. The environment lives in .venv.

PYTHON ?= python3.11
TORCH_INDEX ?=
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
SEMGREP := $(VENV)/semgrep
MINUTES ?= 60
WORKERS ?= 2
MARKERS ?=
HOUSE := everbeat device security twin_engine web benchmarks fuzzing scripts docker
FAST := not e2e and not browser and not hub

.PHONY: demo test check static setup clean browser bench fuzz sbom

demo: $(READY)
	@$(BIN)/everbeat demo $(ARGS)

test: $(READY) browser
	@scripts/run-tests.sh $(BIN) $(WORKERS) "$(MARKERS)" $(ARGS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory static
	@scripts/run-tests.sh $(BIN) $(WORKERS) "$(FAST)" -q $(ARGS)

# What is never done here, looked for: bandit's rules, and our own (.semgrep), tested on their samples first
static: $(READY) $(SEMGREP)/.ready
	$(BIN)/bandit -q -c pyproject.toml -r $(HOUSE)
	@SEMGREP_SEND_METRICS=off $(SEMGREP)/bin/semgrep --test --config .semgrep/house.yaml .semgrep/house.py >$(SEMGREP)/test.log 2>&1 || { cat $(SEMGREP)/test.log; exit 1; }
	$(SEMGREP)/bin/semgrep scan -q --metrics=off --disable-version-check --error --config .semgrep/house.yaml $(HOUSE)

# Semgrep wants other versions of click and certifi than this project, so it lives apart
$(SEMGREP)/.ready: requirements-semgrep.lock $(READY)
	@test -x $(SEMGREP)/bin/python || $(BIN)/python -m venv $(SEMGREP)
	@$(SEMGREP)/bin/pip install --quiet -r requirements-semgrep.lock
	@touch $@

fuzz: $(READY)
	@$(BIN)/pip install --quiet atheris==3.0.0 || echo "atheris can't be installed here: mutation without coverage"
	$(BIN)/python -m fuzzing.run --minutes $(MINUTES) $(ARGS)

sbom: $(READY)
	@$(BIN)/python -m scripts.sbom

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
