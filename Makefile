# For people who change snapback. Its users need none of this: snapback.py alone is the program.

PYTHON  ?= python3
PREFIX  ?= /usr/local
DESTDIR ?=
SCALE   ?= normal
TESTS   ?= snapback.py tests
ARGS    ?=

# One folder holds all that the tools leave behind: a venv for each Python (.venv/3.8), their caches and logs.
export PYTHONDONTWRITEBYTECODE := 1
THIS     = $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')
SUBMAKE  = @$(MAKE) -s

.PHONY: help test check checked sabotaged lint bench install clean
.PRECIOUS: .venv/%/ready

help: ## say what can be made (the default)
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

test: ## run the tests; TESTS=tests/test_x.py or ARGS='-k word' for some, PYTHON=python3.8 for another Python
	$(SUBMAKE) .venv/$(THIS)/ready
	@.venv/$(THIS)/bin/python -m pytest -c tests/pytest.ini -q $(TESTS) $(ARGS)

check: ## linters, the tests with coverage on the oldest and the newest Python here, then sabotage
	$(SUBMAKE) -j 2 checked PYTHONS="$$($(PYTHON) tests/pythons.py)"

bench: ## measure against rsync, cp, restic, borg; SCALE=small, normal or big; ARGS='--only NAME' for one row
	@$(PYTHON) tests/bench.py --scale $(SCALE) $(ARGS)

install: ## put the program into DESTDIR/PREFIX/bin, as snapback
	install -d "$(DESTDIR)$(PREFIX)/bin"
	install -m 755 snapback.py "$(DESTDIR)$(PREFIX)/bin/snapback"

clean: ## remove what these commands made here
	rm -rf .venv
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- What the commands above are made of ------

.venv/%/ready: tests/requirements.txt
	@echo "getting Python $* ready in .venv/$*"
	@python=$$($(PYTHON) tests/pythons.py $*) && "$$python" -m venv --clear .venv/$*
	@.venv/$*/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

# PYTHONS, oldest first, comes from check. The oldest ends first, and leaves its processor to sabotage.
checked: $(addprefix covered-,$(PYTHONS)) sabotaged

sabotaged: covered-$(firstword $(PYTHONS)) .venv/$(lastword $(PYTHONS))/ready
	@[ ! -e tests/sabotage.py ] || .venv/$(lastword $(PYTHONS))/bin/python tests/sabotage.py

lint: .venv/$(lastword $(PYTHONS))/ready
	@.venv/$(lastword $(PYTHONS))/bin/ruff check --quiet --output-format concise --config tests/ruff.toml snapback.py tests
	@.venv/$(lastword $(PYTHONS))/bin/mypy --config-file tests/mypy.ini snapback.py

# The newest Python runs every loop in full (tests/conftest.py: LOOPS). From 3.12 on lines can be measured at next to no
# cost, branches from 3.14 on; older ones pay with a third of their time, so branches are measured on the oldest at least.
BRANCHES = $(if $(filter 3.12 3.13,$*),False,True)
SYSMON   = COVERAGE_CORE=sysmon BRANCHES=$(BRANCHES)

# Random histories (tests/test_histories.py): the newest Python lives through as many as `make test` does, the oldest through some.
HISTORIES = $(if $(filter $(lastword $(PYTHONS)),$*),200,20)

# Two of these run at the same time, so each keeps its log until it has ended.
covered-%: .venv/%/ready lint
	@echo "running the tests on Python $*"
	@HISTORIES=$(HISTORIES) $(if $(filter-out $(firstword $(PYTHONS)),$*),$(SYSMON)) $(if $(filter-out $(lastword $(PYTHONS)),$*),LOOPS=coarse) \
	    .venv/$*/bin/python -m coverage run --rcfile=tests/coveragerc --data-file=.venv/$*/coverage \
	    -m pytest -c tests/pytest.ini $(TESTS) $(ARGS) > .venv/$*/log 2>&1; \
	tests=$$?; cat .venv/$*/log; [ $$tests -eq 0 ] && \
	.venv/$*/bin/python -m coverage report --rcfile=tests/coveragerc --data-file=.venv/$*/coverage
