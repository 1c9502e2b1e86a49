# The verbs of this repository. `make help` lists them; each does its own set-up.
PYTHON ?= python3
VENV := .venv
DVC_VENV := .venv-dvc
RUN := $(VENV)/bin/python
export GOMP_SPINCOUNT ?= 2000
# As pip does: certificates from the system's store, where a company's own stand.
export UV_SYSTEM_CERTS ?= true
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup demo dev intake soak test test-ui test-slow faults test-core coverage mutation security evidence lint validate bench quality attacks planted sequence lock clean

help:  ## list the verbs
	@awk -F':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready $(DVC_VENV)/.ready  ## make both environments (.venv, .venv-dvc)

$(VENV)/.ready: infra/requirements/all.txt infra/requirements/uv.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/requirements/uv.txt
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --require-hashes --python $(RUN) -r infra/requirements/all.txt
	$(VENV)/bin/uv pip install --quiet --no-deps --no-build-isolation --python $(RUN) --editable .
	@touch $@

$(DVC_VENV)/.ready: infra/requirements/dvc.txt $(VENV)/.ready
	$(PYTHON) -m venv --without-pip $(DVC_VENV)
	$(VENV)/bin/uv pip install --quiet --compile-bytecode --require-hashes --python $(DVC_VENV)/bin/python -r infra/requirements/dvc.txt
	@touch $@

PARAMS ?= params.yaml
BATCH ?= demo
demo: setup  ## forget the digits 3 and 8, end to end (PARAMS=… REQUESTS=… SOURCE=… BATCH=… for another data set)
	$(RUN) -m pipelines.demo --params $(PARAMS) --batch $(BATCH) $(if $(REQUESTS),--requests $(REQUESTS)) $(if $(SOURCE),--source $(SOURCE)) $(INGEST)

dev: setup  ## Dagster's and MLflow's pages on this machine
	$(RUN) -m pipelines.dev

intake: setup  ## the HTTP door for deletion requests, for this machine alone until there is a token
	$(RUN) -m pipelines.intake_api

JOBS ?= 2
test: setup  ## every test that needs nothing but Python
	OMP_NUM_THREADS=1 $(RUN) -m pytest -m "not ui and not slow" -n $(JOBS) --dist loadfile

test-slow: setup  ## the tests that take minutes
	$(RUN) -m pytest -m slow

SHARE ?= 1
faults: setup  ## break it in every way of infra/faults.md, and write that table anew (SHARE=10: a tenth of the kills)
	$(RUN) -m tests.faults $(SHARE)

security: setup  ## hostile files, strings, requests, fuzzing; canaries and planted copies: a table, kept as JSON
	$(RUN) -m tests.security security

evidence: setup  ## bundles flipped, attacked and judged by two verifiers; damaged batches; what committing and proving cost
	$(RUN) -m tests.security evidence
	$(RUN) -m tests.benchmarks.evidence

coverage: setup  ## every branch of the trust core's kernel is taken by a fast test, or this fails
	OMP_NUM_THREADS=1 $(RUN) -m tests.security.branch_coverage

mutation: setup  ## change the kernel in one place at a time: do its tests fail? (ONLY=merkle: one module; hours for all)
	$(RUN) -m tests.security.mutation $(ONLY)

test-core:  ## the core's tests, without dagster, mlflow or dvc (PYTHON=python3.12 for another Python)
	$(PYTHON) -m venv .venv-core
	.venv-core/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r infra/requirements/uv.txt
	.venv-core/bin/uv pip install --quiet --require-hashes --python .venv-core/bin/python -r infra/requirements/core.txt
	PYTHONPATH=. .venv-core/bin/python -m pytest -m "not ui and not slow" --ignore tests/pipelines --ignore tests/infra --ignore tests/ui

test-ui: setup  ## open the pages in a real browser (installs one where there is none)
	bash tests/ui/install.sh
	$(RUN) -m pytest -m ui

lint: setup  ## ruff, mypy --strict, the floors
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	$(VENV)/bin/lint-imports

validate: setup  ## judge infra/ without a cluster: manifests, rendered pods, images, compose, dagster.yaml
	$(RUN) -m infra.validate

bench: setup  ## how fast, on this machine: prints and keeps JSON under tests/benchmarks/results/
	$(RUN) -m tests.benchmarks.step
	$(RUN) -m tests.benchmarks.siss
	$(RUN) -m tests.benchmarks.sisa
	$(RUN) -m tests.benchmarks.evaluation --images 300 --dims 192

soak: setup  ## eight weeks of a line, kills, a gate's refusal, an outage and a rollback in them (WEEKS=… SEED=… SOAK=folder that stays)
	$(RUN) -m tests.soak --weeks $(or $(WEEKS),8) --seed $(or $(SEED),0) $(if $(SOAK),--home $(SOAK)) --results tests/soak/results/soak-$(or $(WEEKS),8)-weeks.json

DATA ?= ../shared/data/cifar10
WORKERS ?= 1
STUDY ?= $(notdir $(patsubst %/,%,$(DATA)))
quality: setup  ## every method beside the others, with references (DATA=… STUDY=… WORKERS=… ONLY=method); run again to resume
	$(RUN) -m unlearning study infra/studies/$(STUDY).yaml --source $(DATA) --root var --workers $(WORKERS) --results infra/studies/results $(if $(ONLY),--only $(ONLY))

attacks: setup  ## every method against every attack, a model that never saw it beside (DATA=… STUDY=… WORKERS=…); run again to resume
	$(RUN) -m unlearning study infra/studies/attacks-$(STUDY).yaml --source $(DATA) --root var --workers $(WORKERS) --results infra/studies/results $(if $(ONLY),--only $(ONLY))

planted: setup  ## one repeated image among many: every way to forget it, beside a model that never saw it; run again to resume
	$(RUN) -m unlearning study infra/studies/planted-digits.yaml --root var --workers $(WORKERS) --results infra/studies/results $(if $(ONLY),--only $(ONLY))

sequence: setup  ## twenty deletions one after the other: does every earlier one hold? run again to resume
	$(RUN) -m unlearning sequence infra/sequences/letters.yaml --root var --results infra/sequences/results $(if $(ONLY),--only $(ONLY))

lock: setup  ## resolve the dependencies again (hash-pinned, no index address)
	$(VENV)/bin/uv pip compile pyproject.toml --group pipelines --group dev --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o infra/requirements/all.txt
	$(VENV)/bin/uv pip compile pyproject.toml --group test --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -c infra/requirements/all.txt -o infra/requirements/core.txt
	$(VENV)/bin/uv pip compile pyproject.toml --group pipelines --override infra/requirements/dagster.overrides.txt --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -c infra/requirements/all.txt -o infra/requirements/dagster.txt
	$(VENV)/bin/uv pip compile pyproject.toml infra/requirements/trainer.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -c infra/requirements/all.txt -o infra/requirements/trainer.txt
	$(VENV)/bin/uv pip compile infra/requirements/objects.in --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet -c infra/requirements/dagster.txt -o infra/requirements/objects.txt
	$(VENV)/bin/uv pip compile --group dvc --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o infra/requirements/dvc.txt
	$(VENV)/bin/uv pip compile --group bootstrap --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --quiet --upgrade -o infra/requirements/uv.txt

clean:  ## remove everything a run made (not the environments)
	rm -rf var
