# Everything runs in a virtual environment of its own, made at the first call.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Modules are compiled when they are first imported; of those installed, most never are. Where Python
# is told not to keep what it compiles, each process would compile thousands of modules anew.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/python -m pip install --quiet --no-compile --disable-pip-version-check
# Processes that run the tests, with one thread each.
JOBS ?= 2
PHOTOS ?=
CLASSES ?=

.PHONY: demo test check check-oldest bench format docs clean

demo: $(VENV)/.demo
	$(BIN)/recoseg demo --out $(if $(PHOTOS),demo/own,demo) $(if $(PHOTOS),--photos "$(PHOTOS)") $(if $(CLASSES),--classes "$(CLASSES)")

test: $(VENV)/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

check: $(VENV)/.dev
	$(BIN)/ruff format --check src tests benchmarks examples docs conftest.py
	$(BIN)/ruff check src tests benchmarks examples docs conftest.py
	$(BIN)/mypy

# The tests with the lowest versions that pyproject.toml claims, in an environment of their own. The
# bounds are pinned: one that another dependency raises is an error, not a version never tried.
check-oldest: pyproject.toml | $(BIN)/python
	rm -rf .venv-oldest
	$(INSTALL) uv
	$(BIN)/uv venv --quiet --python $(BIN)/python .venv-oldest
	$(BIN)/python -c 'import re, tomllib; \
		project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
		bounds = sum(project["optional-dependencies"].values(), project["dependencies"]); \
		print(*(re.sub(r"\[.*?\]", "", bound).replace(">=", "==") for bound in bounds), sep="\n")' \
		>.venv-oldest/lowest.txt
	$(BIN)/uv pip install --quiet --python .venv-oldest/bin/python --resolution lowest-direct \
		--constraint .venv-oldest/lowest.txt \
		-e '.[dev,demo,lite-small,datasets,plots,train,onnx,ray,s3,faiss]'
	.venv-oldest/bin/python -m pytest

# A few ratios of speed, compared with those of benchmarks/ratios.json; less than three minutes.
bench: $(VENV)/.dev
	$(BIN)/python benchmarks/guard.py

format: $(VENV)/.dev
	$(BIN)/ruff format src tests benchmarks examples docs conftest.py
	$(BIN)/ruff check --fix src tests benchmarks examples docs conftest.py

docs: $(VENV)/.docs
	$(BIN)/python -m mkdocs build --strict --clean

clean:
	rm -rf $(VENV) .venv-oldest demo build dist site

$(BIN)/python:
	$(PYTHON) -c 'import sys; sys.exit("recoseg needs Python 3.11 or newer, found " + sys.version.split()[0]) if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[demo]'
	touch $@

$(VENV)/.docs: pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[docs]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(INSTALL) -e '.[dev,demo,lite-small,datasets,plots,train,onnx,ray,s3,faiss,docs]'
	$(INSTALL) -e '.[crf]' || \
		echo "No dense CRF here (it needs a C++ compiler); its tests will be left out."
	$(INSTALL) -e '.[heif,jxl]' || \
		echo "No HEIC or JPEG XL here (no package for this machine); their tests will be left out."
	touch $@
