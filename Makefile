# `make help` lists the targets, which work from any directory with `make -C` or `make -f`.
.DEFAULT_GOAL := help
# One word of the shell, whatever is in it: a path may hold blanks, quotes and `$`.
quote = '$(subst ','\'',$(1))'
ROOT := $(shell CDPATH= cd "$$(dirname $(call quote,$(strip $(MAKEFILE_LIST))))" && pwd -P)
LOGSTACK := $(call quote,$(ROOT)/logstack)
IN_ROOT := cd $(call quote,$(ROOT)) && ./logstack --prepare && .venv/bin/

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(call quote,$(ROOT)/Makefile) | expand -t 14

# `make RUNTIME=native up` is the same as `RUNTIME=native ./logstack up`: make exports what it is given.

.PHONY: up
up: ## start everything on this machine
	@$(LOGSTACK) up

.PHONY: down
down: ## stop everything and keep the data
	@$(LOGSTACK) down

.PHONY: status
status: ## show the state of every component; fails when one is not healthy
	@$(LOGSTACK) status

.PHONY: clean
clean: ## stop everything and remove the data, once you agree; YES=1: do not ask
	@$(LOGSTACK) clean $(if $(YES),--yes)

.PHONY: plan
plan: ## ENV=staging: show what a deploy would change
	@$(LOGSTACK) hosts plan $(ENV)

.PHONY: deploy
deploy: ## ENV=staging: deploy to the hosts of an environment
	@$(LOGSTACK) hosts deploy $(ENV)

.PHONY: verify
verify: ## ENV=staging: check that records arrive and that policies are in effect
	@$(LOGSTACK) hosts verify $(ENV)

.PHONY: rollback
rollback: ## ENV=staging: undo the changes of the last deploy
	@$(LOGSTACK) hosts rollback $(ENV)

# Two processes; tests that share what a session starts are in one of them (tests/conftest.py).
PARALLEL := -n 2 --dist loadgroup --no-loadscope-reorder
FAILED := $(ROOT)/.pytest_cache/v/cache/lastfailed
FEW := 5
SLOW := docker or hosts or browser or loki or own_stack
.PHONY: test
test: ## run the quick tests, no Docker needed; TEST=tests/unit: run these
	@$(IN_ROOT)python -m pytest $(or $(TEST),$(PARALLEL) -m "not ($(SLOW))")

.PHONY: test-all
test-all: ## run every test that this machine can run; the few that fail once more, alone
	@rm -f "$(FAILED)"; $(IN_ROOT)python -m pytest $(PARALLEL); code=$$?; \
		failed=$$(grep -c ': true' "$(FAILED)" 2>/dev/null); \
		[ $$code -eq 1 ] && [ "$$failed" -le $(FEW) ] || exit $$code; \
		echo "failed beside others, now alone:"; grep ': true' "$(FAILED)"; \
		.venv/bin/python -m pytest -n 1 --dist loadgroup --last-failed --last-failed-no-failures=none

PYTHON ?= /usr/bin/python3
OTHER_VENV := $(call quote,$(ROOT)/.venv$(subst /,-,$(PYTHON))$(DJANGO:%=-django-%))
.PHONY: test-library
test-library: ## PYTHON=/usr/bin/python3 DJANGO=6.1: run the tests of the library on another Python and Django
	@cd $(call quote,$(ROOT)) && LOGSTACK_PYTHON="$(PYTHON)" LOGSTACK_VENV=$(OTHER_VENV) ./logstack --prepare && \
		$(if $(DJANGO),$(OTHER_VENV)/bin/python -m pip install -q 'django==$(DJANGO).*' &&) \
		$(OTHER_VENV)/bin/python -m pytest tests/library

# All others that are there, also pyenv's; those that are not are named.
PYTHONS ?= /usr/bin/python3 python3.11 python3.12 python3.13 python3.14
.PHONY: test-pythons
test-pythons: ## PYTHONS="python3.12 ...": run the tests of the library on each of them
	@PATH="$$(printf '%s:' "$$HOME"/.pyenv/versions/*/bin)$$PATH"; for python in $(PYTHONS); do \
		path=$$("$$python" -c 'import sys; print(sys.executable)' 2>/dev/null) || { echo "$$python: not here"; continue; }; \
		"$$path" -V && $(MAKE) --no-print-directory -f "$(ROOT)/Makefile" test-library PYTHON="$$path" || exit 1; \
	done

.PHONY: lint
lint: ## check style, types and the directions of imports
	@$(IN_ROOT)ruff check .
	@$(IN_ROOT)ruff format --check .
	@$(IN_ROOT)mypy
	@$(IN_ROOT)lint-imports --no-logo

.PHONY: golden
golden: ## show the differences in all rendered texts; ACCEPT=1 accepts them
	@$(IN_ROOT)python -m tests.golden $(if $(ACCEPT),accept)

.PHONY: dashboards
dashboards: ## generate dashboards/generated/ from the pages
	@$(LOGSTACK) dashboards generate

.PHONY: bench
bench: ## measure start, latency, throughput, memory and the library; BENCH=name for one
	@$(IN_ROOT)python -m bench $(BENCH)

.PHONY: drill
drill: ## break things under load and count what arrives; LONG=1: hours; DRILL=name for one
	@$(IN_ROOT)python -m bench.drills $(if $(LONG),--long) $(DRILL)

.PHONY: outdated
outdated: ## list packages and programs that are behind in the registries
	@$(IN_ROOT)python -m stack.artifacts.outdated

.PHONY: audit
audit: ## ask for known vulnerabilities in packages and programs; 2: could not ask
	@$(IN_ROOT)python -m stack.artifacts.audit

.PHONY: lock
lock: ## update requirements.lock
	@$(IN_ROOT)python -m pip install --quiet --require-hashes -r requirements-uv.lock
	@$(IN_ROOT)uv pip compile --quiet pyproject.toml logstack_django/pyproject.toml --extra dev \
		--universal --python-version 3.11 --generate-hashes --no-emit-package logstack-django \
		--output-file requirements.lock
