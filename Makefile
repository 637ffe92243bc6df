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
SCALE ?= $(if $(filter $(DATASET),salicon isun),paper,demo)
SOLVER ?= deep/solver.prototxt
VGG ?=

ENV := build/env
PY := $(ENV)/bin/python
NAME := $(DATASET)-$(SCALE)
ROOT := $(if $(DATA_ROOT),--data-root "$(DATA_ROOT)")

READY_ENV := $(ENV)/.ready
READY_CAFFE := build/caffe/.ready
PREPARED := build/data/$(NAME)/manifest.json
SHALLOW := build/runs/$(NAME)-shallow/weights.npz
DEEP := build/runs/$(NAME)-deep/weights.caffemodel
PREDICTIONS := $(foreach net,shallow deep,build/predictions/$(NAME)/$(net)/predictions.h5)
SCORES := $(foreach model,shallow deep centre-prior chance,build/scores/$(NAME)/$(model).json)
TABLES := build/tables/$(NAME).json

export CAFFE_SRC PYTHON

# Every file below is written whole or not at all, so make has nothing to delete after a failure or Ctrl-C.
.PRECIOUS: $(PREPARED) $(SHALLOW) $(DEEP) $(PREDICTIONS) $(SCORES) $(TABLES)

.PHONY: FORCE help doctor env caffe data train-shallow train-deep predict reproduce-tables test lint clean clean-runs

help:
	@echo 'Saliency prediction with the two networks of Pan et al., CVPR 2016'
	@echo
	@echo '  make reproduce-tables   everything below that is missing, then build/tables/*.{md,csv,tex} and index.html'
	@echo '  make test               the tests'
	@echo
	@echo '  make doctor             what is missing on this machine, and the command that brings it'
	@echo '  make env                build/env: Python 3.11 and the pins of requirements.txt   [PYTHON=path]'
	@echo '  make caffe              BVLC Caffe with pycaffe, built into build/caffe           [CAFFE_SRC=checkout]'
	@echo '  make data               what both nets train on'
	@echo '  make train-shallow      the net of section 3, in Theano and Lasagne'
	@echo '  make train-deep         the net of section 4, in Caffe    [SOLVER=file] [VGG=VGG_CNN_M.caffemodel]'
	@echo '  make predict            NET=shallow|deep IMAGES=picture-or-folder OUT=folder [WEIGHTS=file]'
	@echo '  make clean-runs | clean remove what was trained and computed | all of build/'
	@echo
	@echo '  DATASET=synthetic (default, made here) | osie (DATA_ROOT=path of it)'
	@echo '  SCALE=demo (minutes) | paper (hours to days; default for the paper'\''s training sets)'

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
	@$(PY) -m data.prepare --dataset $(DATASET) $(ROOT) --scale $(SCALE) --out $(@D)

$(SHALLOW): FORCE | $(PREPARED)
	@$(PY) -m shallow.train --data $(dir $(PREPARED)) --run $(@D) --preset $(SCALE)

$(DEEP): FORCE | $(PREPARED) $(READY_CAFFE)
	@$(PY) -m deep.train --data $(dir $(PREPARED)) --run $(@D) --preset $(SCALE) --solver "$(SOLVER)" \
	  $(if $(VGG),--vgg "$(VGG)")

build/predictions/$(NAME)/shallow/predictions.h5: $(SHALLOW)
	@$(PY) -m models.predict --net shallow --weights $< --dataset $(DATASET) $(ROOT) --out $(@D)

build/predictions/$(NAME)/deep/predictions.h5: $(DEEP)
	@$(PY) -m models.predict --net deep --weights $< --dataset $(DATASET) $(ROOT) --out $(@D)

build/scores/$(NAME)/shallow.json build/scores/$(NAME)/deep.json: build/scores/$(NAME)/%.json: build/predictions/$(NAME)/%/predictions.h5
	@$(PY) -m evaluation.score --predictions $< --dataset $(DATASET) $(ROOT) --out $(basename $@)

build/scores/$(NAME)/centre-prior.json build/scores/$(NAME)/chance.json: build/scores/$(NAME)/%.json: | $(READY_ENV)
	@$(PY) -m evaluation.score --baseline $* --dataset $(DATASET) $(ROOT) --out $(basename $@)

$(TABLES): $(SCORES)
	@$(PY) -m evaluation.tables --scores build/scores/$(NAME) --predictions build/predictions/$(NAME) $(ROOT) \
	  --scale $(SCALE) --name $(NAME) --out build/tables

# Set-up first, so that what is missing on the machine is said in the first minute and not after training.
reproduce-tables: $(READY_ENV) $(READY_CAFFE) $(TABLES)
	@echo 'tables and pictures: build/tables/$(NAME).md and build/tables/index.html'

NET ?= deep
WEIGHTS ?= $(if $(filter shallow,$(NET)),$(SHALLOW),$(DEEP))
OUT ?= build/maps
predict: | $(READY_ENV) $(READY_CAFFE)
	@$(if $(IMAGES),,echo 'error: which pictures? make predict IMAGES=picture-or-folder [NET=shallow|deep] [OUT=folder]' >&2; exit 2;) \
	  [ -e "$(WEIGHTS)" ] || { echo 'error: $(WEIGHTS): not there; make train-$(NET) makes it, or give WEIGHTS=file' >&2; exit 2; }; \
	  $(PY) -m models.predict --net $(NET) --weights "$(WEIGHTS)" --images "$(IMAGES)" --out "$(OUT)"

test: | $(READY_ENV) $(READY_CAFFE)
	@$(PY) -m pytest

lint: | $(READY_ENV)
	@$(PY) -m ruff check .

clean-runs:
	rm -rf build/runs build/predictions build/scores build/tables

clean:
	rm -rf build
