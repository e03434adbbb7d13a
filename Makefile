# Each command sets up what it needs, below .venv. Another Python: make test PYTHON=python3.12
PYTHON ?= python3

.PHONY: help demo test lint docs check bench report scale matrix soak fuzz django clean

help: ## this list
	@sed -n 's/^\([a-z]*\): ## /  make \1\t/p' Makefile

demo: ## a Flask application on uvicorn; prints its URL, Ctrl-C ends it
	@.ci/venv .venv/demo examples $(PYTHON)
	@exec .venv/demo/bin/python examples/flask_on_uvicorn.py

test: ## the whole test suite, with branch coverage
	@.ci/test $(PYTHON)

lint: ## format, lint, types
	@.ci/lint $(PYTHON)

docs: ## the documentation, into site/
	@.ci/docs $(PYTHON)

check: ## all that the gate runs
	@.ci/run

bench: ## side by side with the peers; behind real servers where wrk is installed
	@.ci/venv .venv/bench bench $(PYTHON)
	@.venv/bench/bin/python -m benchmarks

report: ## docs/benchmarks.md, measured anew: all benchmarks, and how cost grows (20 minutes; wrk)
	@.ci/venv .venv/bench bench $(PYTHON)
	@.venv/bench/bin/python -m benchmarks.report

scale: ## a cluster of Ray Serve; workers, restarts behind nginx and heavy functions, measured
	@.ci/venv .venv/scale scale $(PYTHON)
	@.venv/scale/bin/python -m pytest tests/scale/ray_serve.py
	@.venv/scale/bin/python -m benchmarks.scale

matrix: ## every server with every application, through one scenario; writes docs/matrix.md (about half an hour)
	@.ci/venv .venv/matrix matrix $(PYTHON)
	@.venv/matrix/bin/python -m tests.matrix

soak: ## two minutes of mixed load on real servers amid faults; 1 GiB up and down; a million calls each way
	@.ci/venv .venv/soak test $(PYTHON)
	@.venv/soak/bin/python -m tests.soak
	@.venv/soak/bin/python -m tests.soak.big
	@.venv/soak/bin/python -m tests.soak.bridges

fuzz: ## thousands of generated requests, bodies, applications and nestings of calls; then guided by coverage
	@.ci/venv .venv/soak test $(PYTHON)
	@HYPOTHESIS_PROFILE=fuzz .venv/soak/bin/python -m pytest tests/fuzz --timeout=3600
	@.ci/venv .venv/fuzz fuzz $(PYTHON)
	@.venv/fuzz/bin/python -m tests.fuzz

django: ## all of Django's own test suite, with asgiref and with what stands in for it; half an hour
	@.ci/venv .venv/soak test $(PYTHON)
	@.venv/soak/bin/python -m tests.compat.django_suite

clean: ## remove all that these commands have made
	rm -rf .venv site .coverage*
