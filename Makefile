# make demo   sets everything up, runs the whole study at demo size, says where the results are
# make test   sets everything up, runs the tests that need neither Snakemake's runs nor a service
# make docs   sets everything up, builds the site: site/index.html
# The set-up is done once: a virtual environment in .venv, from requirements.lock; for tests and linters development.lock besides.

VENV := .venv
RUN := PATH="$(CURDIR)/$(VENV)/bin:$$PATH"
MARKED = $(RUN) python -m pytest -m $(1) $$(grep -rl "mark\.$(1)\b" tests --include "test_*.py")

.PHONY: demo docs release test test-workflow test-docs test-distributed test-wheel test-faults test-paper test-slurm gpu lint setup development

demo: setup
	$(RUN) snakemake --profile profiles/demo
	@$(MAKE) --no-print-directory results/demo/report.html
	@echo
	@echo "Table 1:  results/demo/table1.csv"
	@echo "Figures:  results/demo/figures/"
	@echo "Explorer: results/demo/explorer.html"
	@echo "Report:   results/demo/report.html"

# networks of a finished study in a folder that can be given to others: make release MODELS="a b" (docs/release.md)
RESULTS := results
FOLDER := release
LICENSE := mit
release: setup
	$(RUN) ipcl release $(RESULTS) $(FOLDER) --models $(MODELS) --license $(LICENSE) --share $(SHARE)

# made again when the table or a figure is newer
results/demo/report.html: results/demo/table1.csv $(wildcard results/demo/figures/*/*.svg)
	$(RUN) snakemake --profile profiles/demo --report $@

# a file at a time to each process, in tests/conftest.py's order
test: development
	$(RUN) python -m pytest -n 2 --no-loadscope-reorder --durations 30 -m "not workflow and not gpu and not slurm and not paper and not faults and not distributed and not wheel and not site"

# Snakemake on small real studies, whose data are fetched
test-workflow: development
	$(call MARKED,workflow) -n 2 --no-loadscope-reorder --durations 30

# every row of Table 1 on few small pictures; about ten minutes
test-paper: development
	$(call MARKED,paper)

# kill -9 of every kind of job at 20 random moments
test-faults: development
	$(call MARKED,faults) -s

# Debian packages slurm-wlm and munge
test-slurm: development
	$(call MARKED,slurm)

# the wheel in fresh environments, with the Pythons that are here
test-wheel: development
	$(call MARKED,wheel)

# the site, whose tutorials are run; about two minutes, and 95 MB of brain data where the demo has not fetched them
docs: development
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --quiet --strict
	@echo "Site: site/index.html"

# the built site in a browser (Debian package chromium)
test-docs: docs
	$(call MARKED,site)

# trainings by four processes, and by two that are told to end; about two minutes
test-distributed: development
	$(call MARKED,distributed)

# checks and speeds of a GPU, with what is installed where there is no .venv; without a GPU whether they run, small, on the processor
gpu:
	$(RUN) python -m benchmarks.gpu

lint: development
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) snakefmt --check .
	$(RUN) bandit --quiet --configfile pyproject.toml --recursive ipcl_core workflow_scripts
	$(RUN) mypy
	$(RUN) snakemake --lint --profile profiles/demo

setup: $(VENV)/ready

$(VENV)/ready: requirements.lock pyproject.toml envs/setup.sh
	sh envs/setup.sh $(VENV)

development: $(VENV)/development

$(VENV)/development: $(VENV)/ready development.lock
	$(VENV)/bin/pip install --quiet --require-hashes --requirement development.lock
	touch $@
