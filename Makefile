# The set-up commands and the one gate, for people and for .ci/run alike.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo docs test test-slow test-mcu format results

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	# their wheels ask for torchvision and torchaudio, which our tests do not need
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt spikingjelly norse neurobench
	touch $@

demo: install  ## the shipped Pong agent at T=1 beside its ANN: table, video, plot
	$(BIN)/python -m snn_rl.demo --out runs/demo

docs: install  ## the documentation as a site, in site/; no network is needed
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

test: install  ## the gate
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -n 2 -m "not slow"

test-slow: install  ## learning, minutes
	$(BIN)/pytest -m slow

test-mcu: install  ## agents in C on an emulated microcontroller; needs gcc-arm-none-eabi and qemu-system-arm
	$(BIN)/python tools/mcu.py

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

results: install  ## docs/results, and the tables and pictures of README.md and docs/*.md, from the committed episodes
	$(BIN)/python -m snn_rl.report agents/*/ --out docs/results
	$(BIN)/python tools/fill.py
	$(BIN)/python tools/explain.py
