# `make demo` and `make test` are all there is to know; both set up .venv first, with the versions of constraints.txt.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
OLD_RUNTIME := $(VENV)/tflite-runtime-2.14

.PHONY: demo test slow lint unit native clean

demo: $(VENV)/.installed
	$(BIN)/dsnet demo --out runs/demo

# Side by side: the linters leave a core idle, and so does what the tests install first.
test: $(VENV)/.installed
	+$(MAKE) --jobs 2 lint unit

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

unit: $(VENV)/.installed $(OLD_RUNTIME)/.installed
	$(BIN)/pytest -n 2 --dist worksteal -m "not slow"

# What CI has no time for: further kinds of networks through ExecuTorch's int8 lowering, several processes.
slow: $(VENV)/.installed
	$(BIN)/pytest -n 2 --dist worksteal -m slow

# The native runner (docs/native.md): needs CMake, a C++17 compiler and nlohmann-json3-dev.
native: $(VENV)/.installed
	cmake -S edge/native -B build/native -DPYTHON3=$(abspath $(BIN))/python
	cmake --build build/native --parallel

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11) and "Python 3.11 is needed; set PYTHON=/path/to/python3.11")'
	$(PYTHON) -m venv $(VENV)
	PIP_CONSTRAINT=constraints.txt $(BIN)/pip install --disable-pip-version-check --progress-bar on -e '.[dev]'
	touch $@

# The runtime that older devices have: it needs an older numpy, so it lives in an environment of its own.
$(OLD_RUNTIME)/.installed: tests/tflite_runtime/requirements.txt $(VENV)/.installed
	$(PYTHON) -m venv $(OLD_RUNTIME)
	$(OLD_RUNTIME)/bin/pip install --disable-pip-version-check -q -r tests/tflite_runtime/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) runs build/kotlin
