# Everything runs in .venv, made on first use. PYTHON names a Python 3.11 or newer.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
RUN := $(VENV)/bin/python

.PHONY: demo test test-full check fix browser train-handwritten train-printed compare clean

$(VENV)/.runtime: requirements.txt pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "hmer needs Python 3.11 or newer; set PYTHON=...")'
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check -e .
	touch $@

$(VENV)/.development: $(VENV)/.runtime
	$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@

demo: $(VENV)/.runtime  ## start the app
	$(RUN) app.py

# The tests drive a real browser: a Chromium of the system if there is one, otherwise playwright's own.
browser: $(VENV)/.development
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null \
	  || $(RUN) -m playwright install chromium

test: $(VENV)/.development browser  ## what every change must pass, within six minutes
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile

test-full: $(VENV)/.development browser  ## everything, the long ones included
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n 2 --dist loadfile -m 'slow or not slow'

check: $(VENV)/.development  ## style and types
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

fix: $(VENV)/.development
	$(RUN) -m ruff check --fix .
	$(RUN) -m ruff format .

train-handwritten: $(VENV)/.runtime  ## DATA: a folder with train/, composed/ and validation/; FORMULAS: for a language model
	$(RUN) scripts/train.py --config hmer/configs/handwritten_small.yaml --train '["$(DATA)/train"]' \
	  --validation '$(DATA)/validation'
	for stage in handwritten handwritten_large; do \
	  $(RUN) scripts/train.py --config hmer/configs/$$stage.yaml --train '["$(DATA)/train", "$(DATA)/composed"]' \
	  --validation '$(DATA)/validation' || exit; done
ifdef FORMULAS
	$(RUN) scripts/train_language.py '$(FORMULAS)' --checkpoint runs/handwritten_large/best --data '["$(DATA)/train"]' \
	  --exclude '["$(DATA)/validation"]' --validation '$(DATA)/validation' --ignore '\limits' --out runs/handwritten_language
endif

train-printed: $(VENV)/.runtime  ## DATA: a folder with train/ and validation/, made by scripts/render_formulas.py
	for stage in printed_small printed; do \
	  $(RUN) scripts/train.py --config hmer/configs/$$stage.yaml --train '["$(DATA)/train"]' --validation '$(DATA)/validation' \
	  || exit; done
	$(RUN) scripts/train_magnifier.py --checkpoint runs/printed/best --data '["$(DATA)/train"]' --out runs/printed_magnifying
	$(RUN) scripts/train.py --config hmer/configs/printed.yaml --initial runs/printed_magnifying --out runs/printed_magnified \
	  --hours 1.75 --learning_rate 0.002 --warmup_steps 60 --decay_share 0.6 --average_decay 0.995 --augment.small_print 0.9 --magnifier_rate 0.3 --pool_batches 24 \
	  --train '["$(DATA)/train"]' --validation '$(DATA)/validation'

# Hours each: six runs on handwriting, and four on printed formulas where PRINTED names a folder of them.
HOURS ?= 2
# Of the backbones: pretrained (fetched), a folder with <backbone>.pth, or nothing, which trains them from the start.
WEIGHTS ?= pretrained
compare: $(VENV)/.runtime  ## DATA, PRINTED: folders with train/, validation/ and test/ dataset folders
	$(RUN) scripts/compare.py --handwritten '$(DATA)' --printed '$(PRINTED)' --ignore '\limits' --hours $(HOURS) \
	  --backbone_weights '$(WEIGHTS)' --out runs/comparison

clean:
	rm -rf $(VENV)
