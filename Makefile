# Lipa's commands. Each one does its own set-up first, which takes a moment when everything is there.
# Needed on the machine: Python 3.11 or later, and make (GNU make 3.81 or later).

PYTHON3 := $(firstword $(foreach name,python3 python3.13 python3.12 python3.14 python3.11 python,$(shell command -v $(name) 2>/dev/null)))
PYTHON := .venv/bin/python
PIN := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --custom-compile-command "make lock" $(UPGRADE)
MADE := .venv node_modules .lipa .netlify .pytest_cache .mypy_cache .ruff_cache .hypothesis
# Three processes, each file in one of them (tests/fixtures/schedule.py): also on two cores, because tests wait a lot.
IN_THREE := --numprocesses 3 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo dev letters test soak mutation planted-bugs check format bench build verify migrate lock clean system

help:
	@echo "make demo     take one payment all the way, and print each step"
	@echo "make dev      the shop, the virtual phone and the mailbox, left running (PORT=8888, SIM_PORT=8890, LIMITS=on)"
	@echo "make letters  every letter that customers get, as files"
	@echo "make test     every test (TESTS=tests/unit runs a part)"
	@echo "make soak     the long form of the tests that have one (hours)"
	@echo "make mutation, make planted-bugs   break the code, and count what the tests notice (half an hour each)"
	@echo "make check    formatting, types, tests"
	@echo "make format   let ruff format and repair the code"
	@echo "make bench    the measurements, as ratios"
	@echo "make build    the deployable functions, by netlify build"
	@echo "make verify   check the invariants of the database at DATABASE_URL"
	@echo "make migrate  bring the database at DATABASE_URL up to date"
	@echo "make setup    only the set-up, into .venv and node_modules"
	@echo "make lock     pin the packages again, after a change in requirements*.in (UPGRADE=--upgrade renews all)"
	@echo "make clean    remove what the commands made (the local database too)"

setup:
	@if [ -z "$(PYTHON3)" ]; then echo "Lipa needs Python 3.11 or later, best 3.13: no python3 was found on PATH. See https://www.python.org/downloads/" >&2; exit 1; fi
	@"$(PYTHON3)" dev/setup.py

system: setup
	@$(PYTHON) -m dev.system_packages

demo: setup
	@$(PYTHON) -m dev.demo

dev: setup
	@$(PYTHON) -m dev.make_dev

letters: setup
	@$(PYTHON) -m ops letters show .lipa/letters

test: system
	@$(PYTHON) -m pytest $(IN_THREE) $(TESTS)

check: system
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m mypy
	@$(PYTHON) -m pytest $(IN_THREE) $(TESTS)

format: setup
	@$(PYTHON) -m ruff format .
	@$(PYTHON) -m ruff check --fix .

soak: system
	@$(PYTHON) -m pytest --soak $(TESTS)

mutation: system
	@$(PYTHON) -m dev.mutation

planted-bugs: system
	@$(PYTHON) -m dev.planted_bugs

bench: setup
	@$(PYTHON) -m dev.bench

build: setup
	@$(PYTHON) -m dev.build

verify: setup
	@$(PYTHON) -m ops verify

migrate: setup
	@$(PYTHON) -m db.migrate

# UPGRADE=--upgrade renews all pins. The lists name no index: everybody's own settings say where packages come from.
lock: setup
	@$(PIN) requirements.in --output-file requirements.txt
	@$(PIN) requirements-dev.in --constraints requirements.txt --output-file requirements-dev.txt

# The lock of a running stack or database holds its process number.
clean:
	@for pid in $$(find .lipa -maxdepth 3 \( -name '*.lock' -o -name lock \) -exec awk '{sub(/^[^0-9]*/, ""); print $$0 + 0}' {} + 2>/dev/null); do \
		if ps -o args= -p "$$pid" | grep -q python; then \
			echo "Nothing was removed: process $$pid is at work in .lipa. Stop it (Ctrl-C where make dev runs), then run make clean again." >&2; \
			exit 1; \
		fi; \
	done
	@rm -rf $(MADE)
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
