# Two commands are enough for a newcomer: `make demo` and `make test`. Both set up .venv/ when it is missing or out of date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test hpc browser containers docs check format lock help
help:
	@echo "make demo    install, then run examples/fcc_alloys.toml to convergence"
	@echo "make test    install, then run the tests"
	@echo "make hpc     the tests that need a real SLURM, sshd and Quantum ESPRESSO"
	@echo "make browser the tests that open the Prefect UI and the report in Chromium"
	@echo "make containers  the tests that build and run the image: they need buildah"
	@echo "make docs    the documentation as a site, in build/site/"
	@echo "make check   format, lint, types and import rules"
	@echo "make format  put the code into the project's format"
	@echo "make lock    renew requirements.lock from pyproject.toml"

demo: $(STAMP)
	$(BIN)/motherlode run examples/fcc_alloys.toml

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# Debian: apt-get install slurm-wlm munge openssh-server quantum-espresso quantum-espresso-data openmpi-bin postgresql
hpc: $(STAMP)
	$(BIN)/python -m pytest tests/hpc

# Debian: apt-get install chromium
browser: $(STAMP)
	$(BIN)/python -m pytest tests/browser

# Debian, as root: apt-get install buildah mmdebstrap postgresql
containers: $(STAMP)
	$(BIN)/python -m pytest tests/containers

docs: $(STAMP)
	$(BIN)/python -m mkdocs build --strict --quiet

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(0 if (3, 11) <= v <= (3, 13) else "Motherlode needs Python 3.11 to 3.13; %s is %d.%d. Try: make PYTHON=python3.12 ..." % ((sys.executable,) + v))'
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

# Plain pins with markers, for every Python and platform we support; no index address is written.
lock:
	uv pip compile --universal --python-version 3.11 --extra dask --extra postgresql --extra soap --extra umap --group dev pyproject.toml \
	    --no-emit-index-url --no-emit-find-links --no-annotate --custom-compile-command "make lock" -o requirements.lock
