# Python and make are all that these targets need: each makes its own environment,
# once, and again when what it is made from changes.
#
#   make test PYTHON=python3.12             another Python
#   make test TOX_ARGS="-- tests/test_package.py"      a part of the suite

PYTHON ?= python3
DEMO_ENV := .venv-demo
TOX_ENV := .venv-tox
PIP_INSTALL := -m pip install --constraint constraints.txt

.PHONY: help
help:
	@echo "make demo    install the package and relabel real series: demo-output/"
	@echo "make test    run the whole test suite"
	@echo "make lint    check the style and the types of the code"
	@echo "make docs    build the documentation site: docs/_build/html/index.html"
	@echo "make bench   short runs of the comparisons with peers: benchmarks/results/"
	@echo "make clean   remove everything that these targets made"

.PHONY: demo
demo: $(DEMO_ENV)/ready
	$(DEMO_ENV)/bin/sktasgen demo --out demo-output

.PHONY: test
test: $(TOX_ENV)/ready
	$(TOX_ENV)/bin/tox run -e py $(TOX_ARGS)

.PHONY: lint
lint: $(TOX_ENV)/ready
	$(TOX_ENV)/bin/tox run -e lint

.PHONY: docs
docs: $(TOX_ENV)/ready
	$(TOX_ENV)/bin/tox run -e docs

# make bench NAME=relabelling ARGS="lakes --seeds 1"; a NAME alone: the whole comparison
.PHONY: bench
bench: $(TOX_ENV)/ready
	$(TOX_ENV)/bin/tox run -e bench $(if $(NAME),-- $(NAME) $(ARGS))

# torch first, see constraints.txt; the pinned setuptools then builds the package.
$(DEMO_ENV)/ready: setup.py pyproject.toml constraints.txt
	@$(check_python)
	$(PYTHON) -m venv --clear $(DEMO_ENV)
	$(DEMO_ENV)/bin/python $(PIP_INSTALL) torch setuptools
	$(DEMO_ENV)/bin/python $(PIP_INSTALL) --no-build-isolation --editable '.[io,plot,data]'
	@touch $@

# tox itself rebuilds its environments when the package or the pins change.
$(TOX_ENV)/ready: constraints.txt
	@$(check_python)
	$(PYTHON) -m venv --clear $(TOX_ENV)
	$(TOX_ENV)/bin/python $(PIP_INSTALL) tox
	@touch $@

define check_python
$(PYTHON) -c "import sys; sys.version_info >= (3, 11) or sys.exit( \
	'sktasgen needs Python 3.11 or newer, and $(PYTHON) is ' \
	+ sys.version.split()[0] + ': name one, as in make PYTHON=python3.12')"
endef

.PHONY: clean
clean:
	rm -rf $(DEMO_ENV) $(TOX_ENV) .tox build dist sktasgen.egg-info demo-output
	rm -rf docs/_build docs/api docs/auto_examples docs/sg_execution_times.rst
	rm -rf .pytest_cache .hypothesis .ruff_cache .mypy_cache .coverage .coverage.* htmlcov
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
