# `make help` lists the targets. Every one works from any directory with `make -C` or `make -f`.
.DEFAULT_GOAL := help
ROOT := $(shell cd "$$(dirname "$(strip $(MAKEFILE_LIST))")" && pwd -P)
LOGSTACK := "$(ROOT)/logstack"
IN_ROOT := cd "$(ROOT)" && ./logstack --prepare && .venv/bin/

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' "$(ROOT)/Makefile" | expand -t 14

# RUNTIME=native or RUNTIME=docker chooses for one command what settings.stack.runtime chooses.
ifdef RUNTIME
export LOGSTACK_STACK__RUNTIME := $(RUNTIME)
endif

.PHONY: up
up: ## start everything on this machine
	@$(LOGSTACK) up

.PHONY: down
down: ## stop everything, keep the data
	@$(LOGSTACK) down

.PHONY: status
status: ## show every component; fails when one is not healthy
	@$(LOGSTACK) status

.PHONY: clean
clean: ## stop everything and remove the data
	@$(LOGSTACK) clean

.PHONY: plan
plan: ## ENV=staging: show what a deploy would change
	@$(LOGSTACK) hosts plan $(ENV)

.PHONY: deploy
deploy: ## ENV=staging: bring the hosts to their plan
	@$(LOGSTACK) hosts deploy $(ENV)

.PHONY: verify
verify: ## ENV=staging: prove that records arrive and policies hold
	@$(LOGSTACK) hosts verify $(ENV)

.PHONY: rollback
rollback: ## ENV=staging: put back what the last deploy changed
	@$(LOGSTACK) hosts rollback $(ENV)

# Two processes; tests that share what a session starts are in one of them (tests/conftest.py).
PARALLEL := -n 2 --dist loadgroup --no-loadscope-reorder
SLOW := docker or hosts or browser or loki or own_stack
.PHONY: test
test: ## run the quick tests, no Docker needed; TEST=tests/unit: run these
	@$(IN_ROOT)python -m pytest $(or $(TEST),$(PARALLEL) -m "not ($(SLOW))")

.PHONY: test-all
test-all: ## run every test that this machine can run
	@$(IN_ROOT)python -m pytest $(PARALLEL)

PYTHON ?= /usr/bin/python3
OTHER_VENV := $(ROOT)/.venv$(subst /,-,$(PYTHON))
.PHONY: test-library
test-library: ## PYTHON=/usr/bin/python3: run the library's tests on another Python
	@cd "$(ROOT)" && LOGSTACK_PYTHON="$(PYTHON)" LOGSTACK_VENV="$(OTHER_VENV)" ./logstack --prepare && \
		"$(OTHER_VENV)/bin/python" -m pytest tests/library

.PHONY: lint
lint: ## check style, types and which room imports which
	@$(IN_ROOT)ruff check .
	@$(IN_ROOT)ruff format --check .
	@$(IN_ROOT)mypy
	@$(IN_ROOT)lint-imports --no-logo

.PHONY: golden
golden: ## show what a change changes in every rendered text; ACCEPT=1 keeps it
	@$(IN_ROOT)python -m tests.golden $(if $(ACCEPT),accept)

.PHONY: dashboards
dashboards: ## write dashboards/generated/ again from the pages
	@$(LOGSTACK) dashboards generate

.PHONY: bench
bench: ## measure: start, latency, throughput, memory, the logging library (BENCH=name)
	@$(IN_ROOT)python -m bench $(BENCH)

.PHONY: lock
lock: ## resolve requirements.lock again
	@$(IN_ROOT)python -m pip install --quiet --require-hashes -r requirements-uv.lock
	@$(IN_ROOT)uv pip compile --quiet pyproject.toml logstack_django/pyproject.toml --extra dev \
		--universal --python-version 3.11 --generate-hashes --no-emit-package logstack-django \
		--output-file requirements.lock
