# `make demo` and `make test` do everything on a fresh machine: virtual environment, install, run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= work_dirs/demo
WORLD := worlds/demo

.PHONY: demo test lint clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/bevlite data synth $(WORLD) --scenes 40 --samples 3 --val-scenes 8 --sweeps 3 --image-scale 0.25
	$(BIN)/bevlite search run configs/searches/demo.yaml --data $(WORLD) --out $(DEMO) --workers 2
	@echo "Open $(DEMO)/report.html in a browser."

test: lint
	$(BIN)/python -m pytest -n 2

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf work_dirs worlds .pytest_cache .mypy_cache .ruff_cache
