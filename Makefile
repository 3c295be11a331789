# Everything a person does here, one word each. Needs git, make and Python 3.11, 3.12 or 3.13; each target
# makes the environment that it needs, once, from the pinned requirements:
#   .venv/run  the service alone, no TensorFlow        (requirements/runtime.txt)
#   .venv/dev  the service, training, tests and tools  (requirements/dev.txt)

PORT ?= 8000
# Extra arguments of `run`, `test`, `load`, `train` and `export`: make test ARGS="-k decode"
ARGS ?=
# The images, in the layout Train/ TestA/ TestB/ <Class>/.
DATA_ROOT ?= $(or $(WBC_DATA_ROOT),$(firstword $(wildcard data/wbc ../shared/data/wbc)),data/wbc)

RUN := .venv/run
DEV := .venv/dev

# The Pythons that every pin has a wheel for. For 3.14, pyjpegls (which highdicom needs) and TensorFlow 2.21 have none.
SUPPORTED := (3, 11) <= sys.version_info < (3, 14)
# The first of these that is one of them; make run PYTHON=/path/to/python3.12 chooses another.
PYTHONS := python3.11 python3.12 python3.13 python3
is_supported = $(shell $(1) -c 'import sys; sys.exit(not $(SUPPORTED))' >/dev/null 2>&1 && echo $(1))
PYTHON ?= $(or $(firstword $(foreach candidate,$(PYTHONS),$(call is_supported,$(candidate)))),python3)
CHECK_PYTHON = @$(PYTHON) -c 'import sys; $(SUPPORTED) or sys.exit("Python 3.11, 3.12 or 3.13 is needed (pyjpegls \
	and TensorFlow 2.21 have no wheels for a newer one); %s is %d.%d. Name another with PYTHON=" % \
	(sys.executable, sys.version_info[0], sys.version_info[1]))'

# Only wheels, only those of the lock files, each with its hash. Nothing is resolved: pip 23, which Debian 12 and
# Python 3.11 bring, looks up a dependency with an extra apart from the pin without one, takes the newest release of
# the day, and then refuses it for want of a hash. `make check-install` looks whether the lock is complete.
PIP := -m pip --disable-pip-version-check
LOCKED := --no-deps --require-hashes --only-binary :all:
# The project itself, linked and not copied, so that `wbc` runs what stands here. Its build tool is one of the
# pinned requirements, so nothing is downloaded.
PROJECT := --no-index --no-deps --no-build-isolation --quiet --editable .

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## Show this list
	@echo "White-blood-cell analyzer. For research use only. Not for use in diagnostic procedures."
	@echo
	@awk 'BEGIN { FS = ":.*## " } /^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  Variables: PORT=$(PORT)  DATA_ROOT=$(DATA_ROOT)  PYTHON=  ARGS="

.PHONY: run
run: $(RUN)/.installed ## Start the service on PORT (8000)
	@# Pictures stay for the review, encrypted: where there is no database yet, by a key beside it.
	@test -n "$$WBC_STORE__URL" -o -e data/wbc.db -o -e data/store.key \
		|| { mkdir -p data && (umask 077 && $(RUN)/bin/wbc store key > data/store.key); }
	@test -n "$$WBC_HEADS_DIR" || mkdir -p data/heads
	@WBC_EMBEDDED__CACHE_DIR="$${WBC_EMBEDDED__CACHE_DIR:-$(RUN)/cache}" \
		WBC_STORE__ENCRYPTION_KEY="$${WBC_STORE__ENCRYPTION_KEY:-$$(test -n "$$WBC_STORE__URL" || cat data/store.key 2>/dev/null)}" \
		WBC_STORE__URL="$${WBC_STORE__URL:-sqlite:///data/wbc.db}" \
		WBC_HEADS_DIR="$${WBC_HEADS_DIR:-data/heads}" \
		exec $(RUN)/bin/wbc serve --port $(PORT) $(ARGS)

.PHONY: test
test: $(DEV)/.installed ## Run every test
	$(DEV)/bin/python -m pytest -n logical --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: coverage
coverage: ## Run every test and say which lines none of them reaches; at least 85 % must be
	$(MAKE) test ARGS="--cov --cov-report=term --cov-fail-under=85 $(ARGS)"

.PHONY: lint
lint: $(DEV)/.installed ## Check format, style, types and import contracts
	$(DEV)/bin/ruff format --check .
	$(DEV)/bin/ruff check .
	$(DEV)/bin/mypy
	$(DEV)/bin/lint-imports

.PHONY: check
check: lint test ## All of it: lint, then test

.PHONY: check-install
check-install: ## Make the environment of `run` from nothing with old and new pips, and ask the service one image
	@$(PYTHON) .ci/check_install.py --options="$(LOCKED)" --project-options="$(PROJECT)" $(ARGS)

.PHONY: format
format: $(DEV)/.installed ## Format the code and mend what can be mended
	$(DEV)/bin/ruff check --fix-only .
	$(DEV)/bin/ruff format .

.PHONY: hooks
hooks: $(DEV)/.installed ## Check format, style and types at every commit (pre-commit)
	$(DEV)/bin/pre-commit install

.PHONY: load
load: $(DEV)/.installed ## Load a service as a laboratory does; fails where the objective is missed (runs/load/)
	$(DEV)/bin/python -m loadtests.load --default-port $(PORT) $(ARGS)

.PHONY: paint
paint: $(DEV)/.installed ## Paint cells to mix into training (--painted-root data/painted)
	$(DEV)/bin/wbc-train synthesize --output data/painted --devices any --unseen-device none \
		--train-per-class 700 --test-per-class 0 --negatives-per-kind 0 $(ARGS)

.PHONY: train
train: $(DEV)/.installed ## Train a model on DATA_ROOT
	$(DEV)/bin/wbc-train train --data-root $(DATA_ROOT) $(ARGS)

.PHONY: export
export: $(DEV)/.installed ## Write the trained model into model_repository/
	$(DEV)/bin/wbc-train export --data-root $(DATA_ROOT) $(ARGS)

# Pins stay as they are unless pyproject.toml asks otherwise; make lock ARGS=--upgrade takes the newest.
COMPILE = $(DEV)/bin/uv pip compile pyproject.toml --group build --universal --python-version 3.11 \
	--generate-hashes --custom-compile-command "make lock" --quiet $(ARGS)
# What the image of the service holds beside its dependencies: everything that a setting can switch on.
SERVED = --extra tracing --extra writers --extra oidc --extra interop --extra dicom

PROTOS := orchestrator/protos

.PHONY: protos
protos: $(DEV)/.installed ## Generate the messages of both gRPC interfaces, ours and TensorFlow Serving's
	$(DEV)/bin/python -m grpc_tools.protoc --proto_path=. --python_out=. --pyi_out=. \
		$(wildcard orchestrator/model_server/protos/*.proto)
	$(DEV)/bin/python -m grpc_tools.protoc --proto_path=$(PROTOS) --python_out=$(PROTOS) \
		--pyi_out=$(PROTOS) --grpc_python_out=$(PROTOS) wbc/v1/wbc.proto
	$(DEV)/bin/python -m grpc_tools.protoc --proto_path=$(PROTOS) --python_out=$(PROTOS) \
		--pyi_out=$(PROTOS) inference/open_inference.proto
	# The compiler knows no relative imports, and the client must work under any name.
	sed -i.orig 's/^from wbc\.v1 import/from . import/' $(PROTOS)/wbc/v1/wbc_pb2_grpc.py
	rm $(PROTOS)/wbc/v1/wbc_pb2_grpc.py.orig
	$(DEV)/bin/python -m tests.sync_client

.PHONY: docs
docs: $(DEV)/.installed ## Write the tables of settings and of a result's fields into docs/
	$(DEV)/bin/python -m tests.settings_table
	$(DEV)/bin/python -m tests.result_table

.PHONY: lock
lock: $(DEV)/.installed ## Compile requirements/*.txt from pyproject.toml
	$(COMPILE) $(SERVED) --output-file requirements/runtime.txt
	$(COMPILE) $(SERVED) --extra training --extra onnx --extra dev --constraint requirements/runtime.txt \
		--output-file requirements/dev.txt
	$(COMPILE) --extra training --extra gpu --constraint requirements/dev.txt \
		--output-file requirements/training.txt

.PHONY: version
version: ## Show the version, which stands in orchestrator/__init__.py
	@sed -n 's/^__version__ = "\(.*\)"$$/\1/p' orchestrator/__init__.py

.PHONY: clean
clean: ## Remove environments, caches and build output
	rm -rf .venv build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment is made anew when its pins change, so that it holds nothing but them.
$(RUN)/.requirements: requirements/runtime.txt
	$(CHECK_PYTHON)
	@echo "Making $(RUN): about 770 MB, once."
	$(PYTHON) -m venv --clear $(RUN)
	$(RUN)/bin/python $(PIP) install $(LOCKED) -r requirements/runtime.txt
	@touch $@

$(DEV)/.requirements: requirements/dev.txt
	$(CHECK_PYTHON)
	@echo "Making $(DEV): about 3.7 GB, once."
	$(PYTHON) -m venv --clear $(DEV)
	$(DEV)/bin/python $(PIP) install $(LOCKED) -r requirements/dev.txt
	@touch $@

.venv/%/.installed: .venv/%/.requirements pyproject.toml
	.venv/$*/bin/python $(PIP) install $(PROJECT)
	@touch $@
