# Each target installs what it needs in a virtual environment.
# AIRFLOW=3.2.2 uses that Airflow instead of the newest one.
# DIST=1 uses the built wheel, installed separately, instead of the source tree.
# LOWEST=1, with DIST=1, uses the lowest versions of Airflow and of the other dependencies that pyproject.toml allows.

AIRFLOW ?=
DIST ?=
LOWEST ?=
PYTHON ?= python3
CHROMIUM ?= chromium
UPLOADS ?= 300
HISTORIES ?= 10000
OF_PYTHON := $(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
VENV := .venv$(if $(AIRFLOW),-$(AIRFLOW))$(if $(LOWEST),-lowest)$(if $(DIST),-dist)$(OF_PYTHON)
BIN := $(CURDIR)/$(VENV)/bin
INSTALLED := $(VENV)/.installed
RECEIVER := .venv-receiver$(if $(DIST),-dist)$(OF_PYTHON)
LINT := .venv-lint
ACTIONLINT ?= $(LINT)/bin/actionlint
SPARK := .venv-spark
# What the Lambda function runs on; deploy/aws/template.yaml has the same defaults.
LAMBDA ?= 3.13-x86_64
LAMBDA_ZIP := dist/smartech-receiver-lambda
# The tests run on this machine.
TESTED_ZIP = $(LAMBDA_ZIP)-$(shell $(PYTHON) -c 'import platform, sys; print(sys.version[:4] + "-" + platform.machine())').zip
# Airflow 3.2 does not start with newer versions of these packages, which Airflow's own constraints exclude.
AIRFLOW_PACKAGE := apache-airflow$(if $(AIRFLOW),==$(AIRFLOW)) $(if $(filter 3.2.%,$(AIRFLOW)),'fastapi<0.137' 'cadwyn<8')
PYTEST = $(BIN)/python -m pytest --numprocesses=4 --dist=loadfile --no-loadscope-reorder --ignore=tests/cluster --ignore=tests/docker $(ARGS)
SOURCES := $(shell find airflow_provider_smartech bench cluster containers demo deploy docs example_dags tests .github -type f -not -name '*.pyc') \
    $(wildcard *.md) .ci/run .dockerignore .env.example .pre-commit-config.yaml docker-compose.yaml Dockerfile LICENSE \
    Makefile pyproject.toml
APT_GET := $(if $(filter 0,$(shell id -u)),,sudo) apt-get
APT_INSTALL := $(APT_GET) install --quiet=2 --yes --no-install-recommends
# The source distribution without the package: tests that run there can only import the installed package.
UNPACKED := build/sdist

.PHONY: demo test coverage test-pip check lint audit build cluster test-cluster test-docker soak simulate bench screenshots reference docs lambda chromium redis docker-compose docker java format clean

demo: $(INSTALLED) ## run the whole path on loopback; KEEP=1 leaves it running
	@$(BIN)/python -m demo $(if $(KEEP),--keep)

test: $(INSTALLED) $(RECEIVER)/.installed $(SPARK)/.installed $(TESTED_ZIP) chromium java ## run all tests
	$(if $(DIST),cd $(UNPACKED) &&) CHROMIUM=$(CHROMIUM) RECEIVER_PYTHON=$(CURDIR)/$(RECEIVER)/bin/python \
	    SPARK_PYTHON=$(CURDIR)/$(SPARK)/bin/python LAMBDA_ZIP=$(CURDIR)/$(TESTED_ZIP) $(PYTEST)

test-pip: dist/.built ## install the wheel with plain pip beside an Airflow without constraints: in time, and nothing else changes
	rm -rf .venv-pip
	$(PYTHON) -m venv .venv-pip
	.venv-pip/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv-pip/bin/uv pip install --quiet --python .venv-pip/bin/python 'apache-airflow[amazon]$(if $(AIRFLOW),==$(AIRFLOW))'
	.venv-pip/bin/python -m pip list --format=freeze > .venv-pip/before.txt
	timeout 120 .venv-pip/bin/python -m pip install --quiet --disable-pip-version-check dist/*.whl
	.venv-pip/bin/python -m pip list --format=freeze | grep -v '^airflow-provider-smartech==' | diff .venv-pip/before.txt -
	.venv-pip/bin/python $(UNPACKED)/tests/support/check_wheel.py

check: $(INSTALLED) ## check with the linters, the import layers and the types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

lint: $(LINT)/.installed ## check the workflows, the templates and the other files that describe the project
	PATH=$(CURDIR)/$(LINT)/bin:$$PATH $(ACTIONLINT)
	$(LINT)/bin/zizmor --offline --quiet --persona=pedantic .
	$(LINT)/bin/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(LINT)/bin/check-jsonschema --builtin-schema custom.github-workflows-require-timeout .github/workflows/*.yml
	$(LINT)/bin/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(LINT)/bin/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/bug.yml \
	    .github/ISSUE_TEMPLATE/feature.yml
	$(LINT)/bin/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(LINT)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yaml
	$(LINT)/bin/pre-commit validate-config
	VALIDATE_PYPROJECT_NO_NETWORK=1 $(LINT)/bin/validate-pyproject pyproject.toml
	$(LINT)/bin/shellcheck --shell=bash --severity=warning .ci/run .ci/newest-python containers/base/*.sh

# It asks the package index about each package, and cannot do so offline: so it runs weekly, and not with the checks.
audit: $(LINT)/.installed ## look for known vulnerabilities in what people install; needs the internet
	mkdir -p build
	$(LINT)/bin/uv pip compile --quiet --no-header --all-extras pyproject.toml --output-file build/package.txt
	$(LINT)/bin/uv pip compile --quiet --no-header deploy/receiver/requirements.txt --output-file build/receiver.txt
	$(LINT)/bin/pip-audit --strict --no-deps --disable-pip --requirement build/package.txt --requirement build/receiver.txt

coverage: override ARGS += --cov --cov-report=
coverage: test ## run all tests, and show which lines and branches of the package none of them runs
	$(if $(DIST),cd $(UNPACKED) &&) $(BIN)/python -m coverage report --show-missing --skip-covered

build: dist/.built ## make the wheel and the source distribution, in dist/

cluster: $(INSTALLED) redis ## run the services of docker-compose.yaml as processes; PROFILE=receiver adds the receiver
	@$(BIN)/python -m cluster $(if $(PROFILE),--profile $(PROFILE))

test-cluster: $(INSTALLED) redis docker-compose ## run the example DAGs and the faults on such a cluster
	$(BIN)/python -m pytest tests/cluster $(ARGS)

test-docker: $(INSTALLED) docker-compose docker ## deploy docker-compose.yaml with Docker, as docs/how-to/docker.md says
	$(BIN)/python -m pytest tests/docker --capture=no $(ARGS)

soak: $(INSTALLED) redis ## upload and sync on such a cluster while components fail at random, and compare the results; UPLOADS=300 SEED=1
	@$(BIN)/python -m cluster.soak --uploads $(UPLOADS) $(if $(SEED),--seed $(SEED))

simulate: $(INSTALLED) ## run random histories of tasks, and a fifth as many of syncs; HISTORIES=10000 SEED=1
	@$(BIN)/python -m tests.histories --histories $(HISTORIES) $(if $(SEED),--seed $(SEED))

bench: $(INSTALLED) ## run all benchmarks; writes bench/*.md and .png
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --editable . --group bench
	$(BIN)/python -m bench.imports
	$(BIN)/python -m bench.pings
	$(BIN)/python -m bench.waiting
	$(BIN)/python -m bench.pages
	$(BIN)/python -m bench.changes
	$(BIN)/python -m bench.unload
	$(BIN)/python -m bench $(ARGS)

screenshots: $(INSTALLED) chromium ## take the screenshots in docs/ again
	CHROMIUM=$(CHROMIUM) SCREENSHOTS=docs/images $(BIN)/python -m pytest tests/uploads_page/test_routes.py

reference: $(INSTALLED) ## make the pages in docs/reference that follow from the code again
	$(BIN)/python -m docs.generate

docs: $(INSTALLED) ## make the documentation site, in build/site; every warning is an error
	AIRFLOW_HOME=$(CURDIR)/build/airflow $(BIN)/python -m sphinx -W --keep-going -q -E -b html docs build/site

lambda: $(LAMBDA_ZIP)-$(LAMBDA).zip ## make the zip of the receiver as a Lambda function, in dist/; LAMBDA=3.13-arm64
	@echo $<

format: $(INSTALLED) ## fix what the linters can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# pip's own resolver takes many minutes for Airflow; uv takes seconds.
$(VENV)/.uv:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@touch $@

ifeq ($(DIST),)
$(INSTALLED): pyproject.toml $(VENV)/.uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --editable . --group dev $(AIRFLOW_PACKAGE)
	@touch $@
else
# First with only the wheel's declared dependencies: a test tool may install a package that a user would not have.
$(INSTALLED): dist/.built $(VENV)/.uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --reinstall-package airflow-provider-smartech \
	    $(if $(LOWEST),--resolution lowest-direct) dist/*.whl $(AIRFLOW_PACKAGE)
	$(BIN)/python $(UNPACKED)/tests/support/check_wheel.py
	$(BIN)/uv pip freeze --python $(BIN)/python | grep -E '^(apache-airflow|apache-airflow-providers-amazon|requests)==' \
	    > $(VENV)/dependencies.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode --group dev \
	    --constraint $(VENV)/dependencies.txt $(AIRFLOW_PACKAGE)
	@touch $@
endif

# The receiver without Airflow.
$(RECEIVER)/.installed: deploy/receiver/requirements.txt $(if $(DIST),dist/.built,pyproject.toml)
	$(PYTHON) -m venv $(RECEIVER)
	$(RECEIVER)/bin/python -m pip install --quiet --disable-pip-version-check -r deploy/receiver/requirements.txt
	$(RECEIVER)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall \
	    $(if $(DIST),dist/*.whl,--editable .)
	@touch $@

# The linters of files that describe the project, apart from what Airflow needs.
$(LINT)/.installed: pyproject.toml
	$(PYTHON) -m venv $(LINT)
	$(LINT)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(LINT)/bin/uv pip install --quiet --python $(LINT)/bin/python --group lint
	@touch $@

# Spark, which would change what Airflow has installed.
$(SPARK)/.installed:
	$(PYTHON) -m venv $(SPARK)
	$(SPARK)/bin/python -m pip install --quiet --disable-pip-version-check 'pyspark>=4,<5'
	@touch $@

$(LAMBDA_ZIP)-%.zip: dist/.built
	.venv-build/bin/python deploy/aws/make_zip.py $* dist/*.whl $@

dist/.built: $(SOURCES)
	rm -rf dist $(UNPACKED)
	$(PYTHON) -m venv .venv-build
	.venv-build/bin/python -m pip install --quiet --disable-pip-version-check build
	.venv-build/bin/python -m build --quiet .
	mkdir -p $(UNPACKED)
	tar -xzf dist/*.tar.gz -C $(UNPACKED) --strip-components=1
	rm -r $(UNPACKED)/airflow_provider_smartech
	@touch $@

# These are installed from Debian if they are missing: Chromium for the browser tests (CHROMIUM=/path/to/it selects
# another one), Java for Spark, Redis for the cluster, docker-compose for the tests of docker-compose.yaml, and, if no
# Docker daemon answers, what is needed to run one and to make its images.
chromium:
	@command -v $(CHROMIUM) >/dev/null || { $(APT_GET) update --quiet=2 && $(APT_INSTALL) chromium fonts-dejavu-core; }

java:
	@command -v java >/dev/null || { $(APT_GET) update --quiet=2 && $(APT_INSTALL) default-jre-headless; }

redis:
	@command -v redis-server >/dev/null || { $(APT_GET) update --quiet=2 && $(APT_INSTALL) redis-server; }

docker-compose:
	@command -v docker-compose >/dev/null || { $(APT_GET) update --quiet=2 && $(APT_INSTALL) docker-compose; }

docker:
	@docker version >/dev/null 2>&1 || which dockerd debootstrap iptables ip setpriv >/dev/null || \
	    { $(APT_GET) update --quiet=2 && $(APT_INSTALL) docker.io debootstrap iptables iproute2 util-linux; }

clean: ## remove what make created
	rm -rf .venv* .coverage* dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/airflow-provider-smartech"
