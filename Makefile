# Everything here needs Python 3.11 or newer and make; what else is needed is installed into .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
AIRFLOW ?= 3.3.2

.PHONY: help demo airflow sandbox test quick lint types unit histories fuzz coverage mutation floors matrix cluster bench docs dist release-check format clean

help:
	@echo "make demo     DAG runs that message customers through the sandbox, to the funnel of their orders (2 to 3 minutes)"
	@echo "make test     lint, types and tests (about 25 minutes)"
	@echo "make quick    the quick tests that start neither Airflow nor a database (under a minute on two cores)"
	@echo "make airflow  Airflow's UI with the sandbox and the example DAGs, until you press Ctrl-C"
	@echo "make sandbox  the sandbox alone"
	@echo "make fuzz     odd inputs to every place where input comes in, for FUZZ_SECONDS (60)"
	@echo "make histories random histories of sends, HISTORIES (20000) of each kind"
	@echo "make coverage lines and branches that the tests of make quick and their slow ones reach (about 4 minutes)"
	@echo "make mutation the share of small faults in the policy modules that their tests notice (about 15 minutes)"
	@echo "make floors   the tests of make quick and their slow ones on Airflow 3.1.0 with the oldest of each dependency"
	@echo "make matrix   tests of the wheel on each Airflow that is supported, as a table (long)"
	@echo "make cluster  a send by Celery's workers, one of which is killed: CLUSTER_ROWS (20000) people (about 3 minutes)"
	@echo "make dist     the wheel and the sdist, in dist"
	@echo "make bench    figures beside peers and floors, as a table, JSON and plots (BENCH_SIZE=small is a try)"
	@echo "make docs     the documentation as HTML, in docs/_build/html"
	@echo "make format   format the code"

# One environment for everything. The stamp is renewed when the dependencies change.
$(VENV)/ready: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; try: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --editable '.[sandbox]' --group dev --group docs 'apache-airflow==$(AIRFLOW)'
	touch $@

demo: $(VENV)/ready
	$(BIN)/python scripts/demo.py

airflow: $(VENV)/ready
	$(BIN)/python scripts/demo.py --stay

sandbox: $(VENV)/ready
	$(BIN)/python -m airflow_provider_wati.sandbox

test: lint types unit

# The inner loop: no test here starts Airflow, a database or a browser, but for some of those that are marked slow, which
# make quick leaves out. Coverage and floors have them, too.
QUICK := tests/unit/client tests/unit/sending tests/unit/state tests/unit/tables tests/unit/test_architecture.py

quick: $(VENV)/ready
	$(BIN)/python -m pytest -n auto --dist loadfile -q -m "not slow" $(QUICK)

lint: $(VENV)/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/ready
	$(BIN)/mypy
	@# By itself, because these modules import each other by their bare names.
	$(BIN)/mypy scripts

unit: $(VENV)/ready
	@# A file of tests goes to one process as a whole, because its tests share a sandbox; in order, as the longest is first.
	@# More processes than four make a machine that shows more processors than it may use too slow for the tests of Airflow.
	$(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

fuzz: $(VENV)/ready
	$(BIN)/python -m tests.fuzz

HISTORIES ?= 20000

histories: $(VENV)/ready
	HISTORIES=$(HISTORIES) $(BIN)/python -m pytest -n auto -q tests/scenarios/test_histories.py tests/scenarios/test_single_histories.py

# In one process, because coverage of several needs a plugin.
coverage: $(VENV)/ready
	$(BIN)/coverage run -m pytest -q $(QUICK)
	$(BIN)/coverage report

mutation: $(VENV)/ready
	$(BIN)/python scripts/mutation.py

floors: $(VENV)/ready
	$(BIN)/python scripts/floors.py -q $(QUICK) tests/unit/test_provider_info.py

matrix: $(VENV)/ready
	$(BIN)/python scripts/matrix.py

# An environment of its own: the clients of Celery and S3 want older versions of what the other tests have.
.cluster/ready: $(VENV)/ready
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python .cluster
	$(BIN)/uv pip install --quiet --python .cluster/bin/python --editable '.[sandbox]' --group dev --group cluster 'apache-airflow==$(AIRFLOW)'
	touch $@

cluster: .cluster/ready
	.cluster/bin/python -m pytest -q -rs tests/airflow/test_cluster.py

BENCH_SIZE ?= full
BENCH_OUTPUT ?= .bench

bench: $(VENV)/ready
	$(BIN)/uv pip install --quiet --python $(BIN)/python --group bench
	$(BIN)/python scripts/bench.py --size $(BENCH_SIZE) --output $(BENCH_OUTPUT)

docs: $(VENV)/ready
	$(BIN)/sphinx-build -W --keep-going -b html docs docs/_build/html

dist: $(VENV)/ready
	$(BIN)/python -m hatchling build -d dist

# TAG is v and the version: what is published under a tag is the version that the tag names, and its changelog says so.
release-check: $(VENV)/ready
	@found="v$$($(BIN)/python -c 'from airflow_provider_wati import __version__; print(__version__)')"; \
	test "$(TAG)" = "$$found" || { echo "TAG is '$(TAG)', and the version of the package is $$found."; exit 1; }
	@grep -q "^## $(TAG:v%=%)\b" CHANGELOG.md || \
	{ echo "CHANGELOG.md has no section $(TAG:v%=%): give the newest one that version."; exit 1; }

format: $(VENV)/ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) .floors .matrix .cluster .bench .coverage dist .demo .airflow docs/_build .mypy_cache .pytest_cache .ruff_cache .hypothesis
