# Everything that is done to a checkout. `make demo` and `make test` are the two that a newcomer needs.
VENV := .venv
PYTHON := $(VENV)/bin/python
SOAK ?= 200
# Test processes side by side; each has users, stores and folders of its own. A file stays in one process.
JOBS ?= 2
FUZZ_SECONDS ?= 60

.PHONY: help demo native test test-vm lint bench soak conformance fuzz wheel clean
help:
	@sed -n 's/^\([a-z]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST)

demo: ## install into .venv, make an image, run a container
	@tools/demo

native: ## build the native program
	@$(MAKE) -s -C native

test: $(VENV)/.tests native ## install what the tests need, run them all
	@tools/test-packages
	@$(PYTHON) -m pytest -n $(JOBS) --dist loadfile $(PYTEST)

test-vm: $(VENV)/.tests native ## some of the tests in a virtual machine with systemd and control groups of version 2 alone
	@$(PYTHON) tools/test_vm.py $(VM) $(PYTEST)

lint: $(VENV)/.tests native ## ruff, mypy, the direction of imports, the C compiler's warnings
	@$(PYTHON) -m pytest -q tests/lint

bench: $(VENV)/.tests native ## measure against podman and docker, side by side
	@$(PYTHON) bench/run.py $(BENCH)

soak: $(VENV)/.tests native ## the crash and stress tests at full length
	@WHERRY_SOAK=$(SOAK) $(PYTHON) -m pytest tests/crash $(PYTEST)

conformance: $(VENV)/.tests native ## build the fixtures of Buildah and kaniko beside docker's builder, and images that install
	@WHERRY_SOAK=1 $(PYTHON) -m pytest tests/build/test_conformance.py tests/build/test_real.py tests/build/test_hostile.py $(PYTEST)

fuzz: ## fuzz the plan decoder, the unpacker and the reader of DNS messages, FUZZ_SECONDS each
	@tools/fuzz $(FUZZ_SECONDS)

wheel: ## dist/wherry-….whl and the source archive
	@mkdir -p dist && tools/make-venv $(VENV) && $(PYTHON) -c 'import sys; sys.path.insert(0, "_build"); import wherry_build as b; print(b.build_wheel("dist")); print(b.build_sdist("dist"))'

clean: ## remove what was built
	@rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache src/wherry/_bin native/build

$(VENV)/.tests: pyproject.toml tools/make-venv
	@tools/test-packages
	@tools/make-venv $(VENV)
	@$(PYTHON) tools/test-requirements.py
	@touch $@
