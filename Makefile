# The whole developer surface. `make help` lists it.
# Python 3.13 is found on PATH, by pyenv or by uv; the environment lives in .venv and is made on first use.
SHELL := bash
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
# Many tests wait for processes, so three go side by side. What shares a file shares its servers.
TESTS := $(PY) -m pytest -n 3 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help demo up test check format bench eval record sweep conformance clean

help:  ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## */  make \1\t/' | expand -t 20

$(READY): requirements.txt requirements-dev.txt scripts/python
	@python="$$(scripts/python)" && { [ -x $(PY) ] || "$$python" -m venv $(VENV); }
	@echo "installing requirements ..."
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt && $(PY) -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

demo: $(READY)  ## the main job, start to end, with a scripted model and a local forge: no account, no key (AZURE=emulated: all of it as in Azure)
	@$(PY) -m cli demo

up: $(READY)  ## serve the pages and the API on http://127.0.0.1:7071 (your model and GitHub by environment, see README)
	@$(PY) -m cli up

test: $(READY)  ## all tests
	@$(TESTS)

check: $(READY)  ## what CI runs: format, lint, types, tests
	@$(VENV)/bin/ruff format --check --quiet . && $(VENV)/bin/ruff check --quiet . && $(VENV)/bin/pyright && $(TESTS)

format: $(READY)  ## format and mend what can be mended
	@$(VENV)/bin/ruff format . && $(VENV)/bin/ruff check --fix .

bench: $(READY)  ## figures, each as a ratio in one run, in four minutes (BENCH=--full: larger and thrice, in twenty)
	@$(PY) -m bench $(BENCH)

eval: $(READY)  ## small bugs solved by your model (OPENAI_API_KEY ...), or by the scripted one (EVAL="spans table": some)
	@$(PY) -m eval $(EVAL)

sweep: $(READY)  ## kill host, worker or both after every point of a session's life; hours (SWEEP="--sample 50": some)
	@$(PY) -m tests.sweep $(SWEEP)

conformance: $(READY)  ## Microsoft's own Durable Task tests on this hub and host (CHECKOUT=clone of microsoft/durabletask-python)
	@$(PY) -m tests.conformance $(CHECKOUT)

record: $(READY)  ## record sessions anew for the replay gate: CONTRIBUTING.md says when one may
	@$(PY) -m tests.replay.record

clean:  ## remove the environment and everything made by runs
	@rm -rf $(VENV) var .pytest_cache .ruff_cache .hypothesis
