# Boxoffice. `make` alone lists what there is. Everything that is fetched or built lies under ~/.cache/boxoffice.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
CACHE := $(or $(BOXOFFICE_CACHE),$(HOME)/.cache/boxoffice)
# One environment for each lock file and interpreter: changing the lock makes a new one, going back costs nothing.
VENV := $(CACHE)/venv-$(shell (cat requirements-dev.lock; $(PYTHON) -V) 2>/dev/null | sha256sum | cut -c1-12)
READY := $(VENV)/.ready
RUN := PYTHONPATH=src $(VENV)/bin/python
ARGS ?=

.PHONY: help demo test test-cluster node chaos lint format generate bench bench-settle foreseen steered release lock setup browser servers clean

help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo; echo '  make demo ARGS="--buyers 2000 --seed 7"    pass options on'

$(READY): requirements-dev.lock
	@PYTHON="$(PYTHON)" bash .ci/setup "$(VENV)"

setup: $(READY) ## fetch the Python packages (done by the others when needed)

demo: $(READY) $(if $(findstring production,$(ARGS)),servers) ## a whole sale with a crowd of 1,000 on this machine
	@$(RUN) -m boxoffice demo $(ARGS)

# Three files at a time; then one fault of each kind, two at a time: most of that is waiting.
test: $(READY) browser servers ## all tests, on real servers
	@$(RUN) -m pytest $(or $(ARGS),-n 3 --dist loadfile $(addprefix --ignore tests/,chaos chart operator))
	@$(if $(ARGS),,$(RUN) -m pytest tests/chaos -n 2 --dist loadfile)

test-cluster: $(READY) servers node ## the chart on a real Kubernetes node of our own, or where KUBECONFIG leads
	@$(RUN) -m pytest $(or $(ARGS),tests/chart)
	@$(if $(ARGS),,$(RUN) -m pytest tests/operator -n 3)
	@$(if $(ARGS),,$(RUN) -m pytest tests/cluster)

# Ten to twenty minutes the first time, of which most is the compiler's.
node: $(READY)
	@$(if $(KUBECONFIG),true,bash .ci/node/build >/dev/null)

chaos: $(READY) servers ## every fault, with full counts, on the production engines: prints the table
	@$(RUN) -m pytest tests/chaos --full $(ARGS)

browser: $(READY)
	@bash .ci/browser

servers: ## fetch Alertmanager, Kafka, MySQL, MariaDB, Prometheus and Redis (done by the others when needed)
	@for server in alertmanager kafka mysql prometheus redis; do bash .ci/servers/$$server || exit 1; done

lint: $(READY) ## ruff and mypy --strict
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

format: $(READY) ## let ruff format the code
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix .

generate: $(READY) ## make anew what is made from something else: the CRD, the chart's README, schema, rules and dashboards, docs/metrics.md, the API's document
	@python3 .ci/version
	@$(RUN) -m boxoffice crd > manifests/crd.yaml
	@$(RUN) -m boxoffice openapi > docs/openapi.json
	@$(VENV)/bin/python chart/generate.py
	@$(VENV)/bin/python chart/rules.py
	@$(VENV)/bin/python docs/metrics.py
	@$(VENV)/bin/python chart/dashboards/generate.py

bench: $(READY) $(if $(findstring production,$(ARGS)),servers) ## requests a second and CPU a request, beside limits taken in the same run
	@$(RUN) load/bench/bench.py $(ARGS)

bench-settle: $(READY) servers ## orders a second from Kafka into MySQL, beside a limit taken in the same run
	@$(RUN) load/bench/settle.py $(ARGS)

foreseen: $(READY) ## what `plan` and `simulate` foretell of a demo, beside what came of it
	@$(RUN) load/bench/foreseen.py $(ARGS)

steered: $(READY) servers node ## a sale whose MySQL is slow for a while, paced by its signals or by hand
	@$(RUN) -m tests.steered $(or $(ARGS),night Auto --quick)

release: ## images, chart, CRD, SBOM, checksums into build/release; TARGET=registry pushes them too
	@bash .ci/release

PIN := uv pip compile -q --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
  --no-emit-find-links
lock: ## pin the newest versions that pyproject.toml allows (needs uv)
	$(PIN) pyproject.toml --extra traces -o requirements.lock
	$(PIN) pyproject.toml --group dev --extra embedded --extra simulate --extra traces -c requirements.lock -o requirements-dev.lock
	$(PIN) pyproject.toml --extra embedded --extra traces -c requirements.lock -o requirements-demo.lock
	echo 'hatchling>=1.27' | $(PIN) - -o requirements-build.lock
	$(PIN) --group release -o requirements-release.lock

clean: ## remove what was fetched and built
	rm -rf "$(CACHE)"
