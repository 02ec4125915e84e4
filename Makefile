# Two commands matter: `make demo` and `make test`. Each sets itself up; only git, make and Python are needed.

VENV   := .venv
READY  := $(VENV)/.ready
PYTHON := $(VENV)/bin/python
# A uv that is already installed, else one of our own in .tools.
UV     := $(or $(shell command -v uv 2>/dev/null),.tools/bin/uv)

.DEFAULT_GOAL := help
.PHONY: help setup demo test check golden lock clean

help:  ## Say what there is.
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(READY)  ## Make .venv hold exactly what requirements.lock says.

$(READY): requirements.lock pyproject.toml
	@command -v $(UV) >/dev/null || $(MAKE) --no-print-directory .tools/bin/uv
	$(UV) venv --quiet --allow-existing --python '>=3.11,<3.14' $(VENV)
	$(UV) pip sync --quiet --python $(PYTHON) --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(PYTHON) --no-deps --editable .
	@touch $@

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv

demo: setup  ## Estimate the depth of the bundled clip with the bundled weights.
	$(VENV)/bin/endodav demo --out demo --overwrite

test: setup  ## Run the tests.
	OMP_NUM_THREADS=1 $(PYTHON) -m pytest --numprocesses auto --dist loadfile

check: setup  ## Everything CI runs: format, lint, types, imports, tests.
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(MAKE) --no-print-directory test

golden: setup  ## Compare with every golden in ../shared/golden/open.
	$(PYTHON) -m tests.golden ../shared/golden/open

lock:  ## Resolve the dependencies anew into requirements.lock.
	$(UV) pip compile --quiet --universal --generate-hashes --upgrade --all-extras --group dev \
		--custom-compile-command 'make lock' --output-file requirements.lock pyproject.toml

clean:  ## Remove what make made.
	rm -rf $(VENV) .tools demo
