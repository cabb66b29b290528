# `make demo` and `make test` do everything on a fresh machine: virtual environment, install, run.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO ?= work_dirs/demo
# Large tensors are taken from the heap and stay there: giving each back to the kernel costs tests a tenth of their time.
KEEP_MEMORY := MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=8589934592 MALLOC_TOP_PAD_=67108864
# Several processes with a thread a core each wait for each other: programs that tests start get one thread as well.
TESTING := OMP_NUM_THREADS=1 $(KEEP_MEMORY)
WORLD := worlds/demo

.PHONY: install demo test test-slow test-all figures lint clean

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@

install: $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/bevlite data synth $(WORLD) --world 2 --scenes 30 --samples 6 --val-scenes 10 --sweeps 3 --image-scale 0.25
	$(BIN)/bevlite search run configs/searches/demo.yaml --data $(WORLD) --out $(DEMO) --workers 2
	@echo "Open $(DEMO)/report.html in a browser."

# Lint, types and everything that is fast: what one runs after a change.
test: lint
	$(TESTING) $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

# Boards over ssh with all their faults, databases, workers, whole trainings (see tests/speeds.py).
test-slow: $(VENV)/.installed
	$(TESTING) $(BIN)/python -m pytest -n 2 --dist worksteal -m slow

# Both in one go, as CI runs them: one collection, and no core waits for the last test of the fast ones.
test-all: lint
	$(TESTING) $(BIN)/python -m pytest -n 2 --dist worksteal

# Figures in documents against the result files that they name (the tests hold them too); `WRITE=--write` puts them right.
figures: $(VENV)/.installed
	$(BIN)/python benchmarks/figures.py $(WRITE)

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf work_dirs worlds .pytest_cache .mypy_cache .ruff_cache
