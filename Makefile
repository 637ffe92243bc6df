# The user's interface. `make` alone prints help.
# Targets are files, so an interrupted run goes on where it stopped. Preparing and training look at what
# is there each time: the same settings, nothing to do; other settings (DATA_ROOT, SOLVER, VGG), an error
# that says so. To do a step again, delete what it made, or `make clean-runs`.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:  # every step uses all cores by itself

DATASET ?= synthetic
DATA_ROOT ?=
# demo: minutes; paper: the paper's epochs, iterations and image size, hours to days.
# paper is the default on the paper's own training sets only.
PRESET ?= $(if $(filter salicon isun,$(firstword $(subst +, ,$(DATASET)))),paper,demo)
SOLVER ?= deep/solver.prototxt
VGG ?=
PREPARE ?=

ENV := build/env
PY := $(ENV)/bin/python
NAME := $(subst +,-,$(subst =,-,$(DATASET)))-$(PRESET)
ROOT := $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)")

READY_ENV := $(ENV)/.ready
READY_CAFFE := build/caffe/.ready
PREPARED := build/data/$(NAME)/manifest.json
SHALLOW := build/runs/$(NAME)-shallow/weights.npz
DEEP := build/runs/$(NAME)-deep/weights.caffemodel
PREDICTIONS := $(foreach net,shallow deep,build/predictions/$(NAME)/$(net)/predictions.h5)
BASELINES := chance centre-prior itti gbvs bms one-human
CONVENTION ?= mit
RUN := $(NAME)$(if $(filter-out mit,$(CONVENTION)),-$(CONVENTION))
SCORES := $(foreach model,shallow deep $(BASELINES),build/scores/$(RUN)/$(model).json)
NETS := $(foreach net,shallow deep,build/nets/$(NAME)/$(net).json)
FIGURES := build/figures/$(RUN)/.ready
TABLES := build/tables/$(RUN).json

export CAFFE_SRC PYTHON IMAGES

# Every file below is written whole or not at all, so make has nothing to delete after a failure or Ctrl-C.
.PRECIOUS: $(PREPARED) $(SHALLOW) $(DEEP) $(PREDICTIONS) $(SCORES) $(NETS) $(FIGURES) $(TABLES)

.PHONY: FORCE help doctor env caffe cluster extras data data-help check-data train-shallow train-deep predict reproduce-tables figures fetch test \
  test-caffe bench lint clean clean-runs

help:
	@echo 'Saliency prediction with the two networks of Pan et al., CVPR 2016'
	@echo
	@echo '  make reproduce-tables   everything below that is missing, then build/tables/*.{md,csv,tex} and index.html'
	@echo '  make test               the tests'
	@echo '  make test-caffe         BVLC'\''s own unit tests of the layers and the solver that the deep net uses'
	@echo '  make bench              the benchmarks, peers beside us in one run: build/bench/*.json'
	@echo
	@echo '  make doctor             what is missing on this machine, and the command that brings it'
	@echo '  make env                build/env: Python 3.11 and the pins of requirements.txt   [PYTHON=path]'
	@echo '  make caffe              BVLC Caffe with pycaffe, built into build/caffe           [CAFFE_SRC=checkout]'
	@echo '  make data-help          the data sets: where they come from, licence, MD5, how to lay them out'
	@echo '  make check-data         what is there of DATASET, what is missing or damaged, and a picture: build/check/*.png'
	@echo '  make data               what both nets train on           [PREPARE="--mirror --means authors --skip-bad"]'
	@echo '  make train-shallow      the net of section 3, in Theano and Lasagne'
	@echo '  make train-deep         the net of section 4, in Caffe    [SOLVER=file] [VGG=VGG_CNN_M.caffemodel]'
	@echo '  make fetch              MODEL=name of models/README.md: released weights, downloaded or from FILE=path'
	@echo '  make predict            NET=shallow|deep IMAGES="pictures folders videos" OUT=folder [WEIGHTS=file] [OPTIONS=name=value] [FORMATS="png overlay"]'
	@echo '  make figures            Figures 1, 3 and 5, training curves and scores of the two nets: build/figures/*/*.png'
	@echo '  make extras             onnx, onnxruntime and pysaliency into build/env: nets for other engines, as models of pysaliency'
	@echo '  make cluster            Dask into build/env: evaluation.score --dask scores on many machines'
	@echo '  make clean-runs | clean remove what was trained and computed | all of build/'
	@echo
	@echo '  DATASET=synthetic (default, made here) | salicon isun mit1003 mit300 osie folder (DATA_ROOT=path of it);'
	@echo '          options follow its name: DATASET=osie+gaze=eyes'
	@echo '  CONVENTION=mit (default) | salicon: whose way of measuring'
	@echo '  PRESET=demo (minutes) | paper (hours to days; default for the paper'\''s training sets)'

doctor:
	@setup/doctor.sh

env: $(READY_ENV)
caffe: $(READY_CAFFE)
data: $(PREPARED)
train-shallow: $(SHALLOW)
train-deep: $(DEEP)

$(READY_ENV): requirements.txt
	@setup/env.sh

$(READY_CAFFE): deep/caffe/build.sh $(wildcard deep/caffe/patches/*) $(if $(CAFFE_SRC),FORCE) | $(READY_ENV)
	@deep/caffe/build.sh

$(PREPARED): FORCE | $(READY_ENV)
	@$(PY) -m data.prepare --dataset $(DATASET) $(ROOT) --preset $(PRESET) $(PREPARE) --out $(@D)

data-help: | $(READY_ENV)
	@$(PY) -m data.sources $(if $(filter-out synthetic,$(DATASET)),$(DATASET))

check-data: | $(READY_ENV)
	@$(PY) -m data.check --dataset $(DATASET) $(ROOT)

$(SHALLOW): FORCE | $(PREPARED)
	@$(PY) -m shallow.train --data $(dir $(PREPARED)) --run $(@D) --preset $(PRESET)

$(DEEP): FORCE | $(PREPARED) $(READY_CAFFE)
	@$(PY) -m deep.train --data $(dir $(PREPARED)) --run $(@D) --preset $(PRESET) --solver "$(SOLVER)" \
	  $(if $(VGG),--vgg "$(VGG)")

build/predictions/$(NAME)/shallow/predictions.h5: $(SHALLOW)
	@$(PY) -m models.predict --net shallow --weights $< --dataset $(DATASET) $(ROOT) --out $(@D)

build/predictions/$(NAME)/deep/predictions.h5: $(DEEP)
	@$(PY) -m models.predict --net deep --weights $< --dataset $(DATASET) $(ROOT) --out $(@D)

SCORE = $(PY) -m evaluation.score --dataset $(DATASET) $(ROOT) --convention $(CONVENTION) \
  --prior build/scores/$(RUN)/centre-prior.npz --out $(basename $@)

build/scores/$(RUN)/shallow.json build/scores/$(RUN)/deep.json: build/scores/$(RUN)/%.json: build/predictions/$(NAME)/%/predictions.h5
	@$(SCORE) --predictions $<

$(BASELINES:%=build/scores/$(RUN)/%.json): build/scores/$(RUN)/%.json: | $(READY_ENV)
	@$(SCORE) --baseline $*

build/nets/$(NAME)/shallow.json: $(SHALLOW)
	@$(PY) -m models.summary --net shallow --weights $< --out $(basename $@)

build/nets/$(NAME)/deep.json: $(DEEP)
	@$(PY) -m models.summary --net deep --weights $< --out $(basename $@)

$(FIGURES): $(SCORES) $(NETS)
	@$(PY) -m evaluation.figures --dataset $(DATASET) $(ROOT) --predictions build/predictions/$(NAME) \
	  --scores build/scores/$(RUN) --runs-shallow $(dir $(SHALLOW)) --runs-deep $(dir $(DEEP)) \
	  --filters build/nets/$(NAME) --out $(@D)
	@touch $@

$(TABLES): $(SCORES) $(NETS) $(FIGURES)
	@$(PY) -m evaluation.tables --scores build/scores/$(RUN) --nets build/nets/$(NAME) $(ROOT) \
	  --runs $(dir $(SHALLOW)) $(dir $(DEEP)) --figures build/figures --preset $(PRESET) --name $(RUN) --out build/tables

# Set-up first, so that what is missing on the machine is said in the first minute and not after training.
reproduce-tables: $(READY_ENV) $(READY_CAFFE) $(TABLES)
	@echo 'tables and pictures: build/tables/$(RUN).md and build/tables/index.html'

figures: $(READY_ENV) $(READY_CAFFE) $(FIGURES)
	@echo 'figures: build/figures/$(RUN)/'

NET ?= deep
WEIGHTS ?= $(if $(filter shallow,$(NET)),$(SHALLOW),$(DEEP))
OUT ?= build/maps
OPTIONS ?=
FORMATS ?=
# Caffe is for the deep net, unless OpenCV runs it
predict: | $(READY_ENV) $(if $(or $(filter shallow,$(NET)),$(filter engine=opencv,$(OPTIONS))),,$(READY_CAFFE))
	@$(if $(IMAGES),,echo 'error: which pictures? make predict IMAGES=picture-or-folder [NET=shallow|deep] [OUT=folder]' >&2; exit 2;) \
	  [ -e "$(WEIGHTS)" ] || { echo 'error: $(WEIGHTS): not there; make train-$(NET) makes it, or give WEIGHTS=file' >&2; exit 2; }; \
	  if [ -e "$$IMAGES" ]; then set -- "$$IMAGES"; else eval "set -- $$IMAGES"; fi; \
	  $(PY) -m models.predict --net $(NET) --weights "$(WEIGHTS)" --images "$$@" --out "$(OUT)" \
	    $(foreach option,$(OPTIONS),--option $(option)) $(if $(FORMATS),--formats $(FORMATS))

fetch: | $(READY_ENV)
	@$(PY) -m models.fetch $(or $(MODEL),--help) $(if $(FILE),--file "$(FILE)")

test: | $(READY_ENV) $(READY_CAFFE)
	@$(PY) -m pytest

test-caffe: | $(READY_CAFFE)
	@deep/caffe/build.sh test

bench: | $(READY_ENV) $(READY_CAFFE)
	@bench/run.sh

cluster: | $(READY_ENV)
	@setup/add.sh cluster "Dask is in build/env: python -m evaluation.score ... --dask tcp://scheduler:8786 (or --dask local)"

extras: | $(READY_ENV)
	@setup/add.sh extras "onnx, onnxruntime and pysaliency are in build/env: python -m models.convert --to onnx, models.as_pysaliency"

lint: | $(READY_ENV)
	@$(PY) -m ruff check .

clean-runs:
	rm -rf build/runs build/predictions build/scores build/nets build/figures build/tables

clean:
	rm -rf build
