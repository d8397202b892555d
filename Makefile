# Each target sets up what it needs in a virtual environment of its own.
# make test AIRFLOW=3.1.8 takes that Airflow instead of the newest one.

AIRFLOW ?=
PYTHON ?= python3
VENV := .venv$(if $(AIRFLOW),-$(AIRFLOW))
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo test check bench format clean

demo: $(INSTALLED) ## run the whole path on loopback; KEEP=1 leaves it running
	@$(BIN)/python -m demo $(if $(KEEP),--keep)

test: $(INSTALLED) ## run every test
	$(BIN)/python -m pytest $(ARGS)

check: $(INSTALLED) ## run the linters and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(INSTALLED) ## measure the ways from a database to S3, side by side; writes bench/transfers.md and .png
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --editable . --group bench
	$(BIN)/python -m bench $(ARGS)

format: $(INSTALLED) ## mend what the linters can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# pip's own resolver takes many minutes for Airflow; uv takes seconds.
$(INSTALLED): pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode \
	    --editable . --group dev apache-airflow$(if $(AIRFLOW),==$(AIRFLOW))
	@touch $@

clean: ## remove what make made
	rm -rf .venv* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
