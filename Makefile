# Two commands do everything: `make demo` and `make test`. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo up test lint types docs unit test-chaos test-speech test-services test-keycloak cluster cluster-down test-cluster bench lock images-lock clean

help: ## What there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18

setup: .venv/.ready ## Make .venv (with .venv/bin/auricle) from the lock

.venv/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Auricle needs Python 3.11 or newer (this is %d.%d): make setup PYTHON=python3.11" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.*
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	touch $@

demo: setup ## Transcribe the shipped meeting through the whole pipeline
	$(BIN)/auricle demo

up: setup ## Run the server on this machine
	$(BIN)/auricle up

test: setup lint types docs unit ## Everything a newcomer needs to trust

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: setup
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m auricle.deploy.documents --check
	$(BIN)/python -m auricle_operator.generated --check

unit: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder -m "not chaos and not torch and not services and not cluster"

test-chaos: setup ## Kill processes at random; nothing is lost, nothing is done twice
	$(BIN)/python -m pytest -m chaos tests/chaos

.venv-speech/.ready: requirements-speech.lock pyproject.toml
	test -x .venv-speech/bin/python || $(PYTHON) -m venv .venv-speech
	.venv-speech/bin/python -m pip install --quiet --disable-pip-version-check uv==0.13.*
	.venv-speech/bin/uv pip install --quiet --python .venv-speech/bin/python --compile-bytecode -r requirements-speech.lock
	.venv-speech/bin/uv pip install --quiet --python .venv-speech/bin/python --no-deps -e .
	touch $@

test-speech: .venv-speech/.ready ## Real torch and pyannote on the demo pipeline
	.venv-speech/bin/python -m pytest -m torch tests/speech_torch tests/contract/speech

test-services: setup ## Against real servers: S3, nginx, Prometheus, Redis, slapd, mail (installs them by apt)
	bash tests/services/install.sh
	$(BIN)/python -m pytest -m services -k "not keycloak" tests/services tests/contract

test-keycloak: setup ## Sign-in against a real Keycloak (installs Java and Maven by apt; four minutes)
	bash tests/services/install.sh keycloak
	$(BIN)/python -m pytest -m services -k keycloak tests/services tests/contract/oidc

cluster: setup ## Make or reuse a real Kubernetes with Knative on this machine (root, Debian 12), with our images in it
	bash tests/cluster/make.sh

cluster-down: ## Stop that cluster
	bash tests/cluster/make.sh down

test-cluster: setup ## Deploy to the cluster and try everything there
	$(BIN)/python -m pytest -m cluster tests/cluster tests/contract/operator_cluster

bench: setup ## Figures, as ratios within one run
	$(BIN)/auricle bench

lock: ## Pin every package anew
	$(BIN)/uv pip compile --quiet --no-header --python-version 3.11 --extra dev pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --no-header --python-version 3.11 --extra dev --extra gpu -c requirements.lock pyproject.toml tests/speech_torch/requirements.in -o requirements-speech.lock
	$(BIN)/python -m auricle.deploy.documents
	$(MAKE) images-lock

images-lock: setup ## Pin what the images hold
	bash functions/image/lock.sh

clean: ## Forget what was built
	rm -rf .venv .venv-speech .pytest_cache .ruff_cache .mypy_cache
