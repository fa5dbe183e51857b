# From a bare clone: `make demo` audits a reference model, `make test` runs every test but those of
# `make zoo`: a standard audit of each reference model, against what its card declares.
# All make .venv on first use and do nothing twice.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test zoo contract manifest lint browser bench clean

demo: $(VENV)/.demo
	$(BIN)/audit run zoo:digits-cnn

test: $(VENV)/.test browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

zoo: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m standard tests/zoo

# Every check with every input kind and task; rewrites tests/contract/measured.txt, which may only grow.
contract: $(VENV)/.test
	CONTRACT=all OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/contract

# What `audit checks` and `audit explain` tell without importing a check; a test says it is up to date.
manifest: $(VENV)/.demo
	$(BIN)/python -m audit.describing audit.checks

# Types and arrows are read off the package as it is installed, under its import names.
lint: $(VENV)/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	rm -rf build $(VENV)/typed && $(PIP) --no-deps --no-build-isolation --target $(VENV)/typed .
	cd $(VENV) && MYPYPATH=typed bin/mypy --config-file ../pyproject.toml -p audit
	cd $(VENV) && PYTHONPATH=typed bin/lint-imports --no-logo --no-cache ../pyproject.toml
	$(BIN)/deptry .

bench: $(VENV)/.test
	$(BIN)/python benchmarks/speed.py

# Report tests need a browser; where none can be installed they say so and are skipped, except in CI.
browser:
	@command -v chromium chromium-browser google-chrome >/dev/null 2>&1 \
	|| { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	     && { echo "installing chromium for the report tests"; \
	          apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; }; } \
	|| echo "no chromium here and no right to install one: the browser tests will not run"

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "neural-audit needs Python 3.11 or newer; try: make $(MAKECMDGOALS) PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing into $(VENV): a few minutes the first time"
	$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml constraints.txt tests/no-deps.txt | $(VENV)/bin/python
	@echo "installing into $(VENV): a few minutes the first time"
	$(PIP) setuptools wheel
	$(PIP) -e '.[test,lint]'
	$(PIP) --no-deps -r tests/no-deps.txt
	@touch $@ $(VENV)/.demo

clean:
	rm -rf $(VENV) build dist audit-report *.egg-info
