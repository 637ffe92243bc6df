# The user's interface; `make` alone prints the list at `help` below.
#
# Targets are files, so an interrupted command continues where it stopped. Preparing and training check what is in
# build/ every time: with the same settings there is nothing to do, with other settings they stop with an error.
# To repeat a step, delete its output, or run `make clean-runs`.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:  # every step uses all cores by itself

# ---- Variables that the user may set: make TARGET NAME=value --------------------------------------------------------

DATASET ?= synthetic
DATA_ROOT ?=
# the nets can be trained on one data set and scored on another
TRAIN ?= $(DATASET)
TRAIN_ROOT ?= $(DATA_ROOT)
TEST ?= $(DATASET)
TEST_ROOT ?= $(DATA_ROOT)
SPLIT ?=
# demo takes minutes; paper has the paper's epochs, iterations and image size, and takes hours to days.
# paper is the default only on the training sets of the paper.
PRESET ?= $(if $(filter salicon isun,$(BASE)),paper,demo)
CONVENTION ?= mit
NET ?=
SOLVER ?= deep/solver.prototxt
TRAIN_VAL ?= deep/train_val.prototxt
VGG ?=
# empty: the original engine of each net, Theano and Caffe
ENGINE ?=
DEVICE ?=
PRECISION ?=
NPROC ?=
# not from the environment: there, CUDA is often the folder of a toolkit, which must not select another build
GPU :=
CUDA :=
CUDA_ARCH :=
MIRROR ?=
MEANS ?= training
SKIP_BAD ?=
JOBS ?=
WEIGHTS ?=
IMAGES ?=
IMAGE ?=
OUT ?=
OPTIONS ?=
FORMATS ?=
MODEL ?=
FILE ?=
OSIE ?=
LONG ?=
SEED ?=
EXPERIMENTS ?=
PYTHON ?=
CAFFE_SRC ?=
DEBIAN_MIRROR ?=
PLATFORMS ?=

VARIABLES := DATASET DATA_ROOT TRAIN TRAIN_ROOT TEST TEST_ROOT SPLIT PRESET CONVENTION NET SOLVER TRAIN_VAL VGG \
  ENGINE DEVICE PRECISION MIRROR MEANS SKIP_BAD JOBS WEIGHTS IMAGES OUT OPTIONS FORMATS MODEL FILE OSIE EXPERIMENTS \
  PYTHON CAFFE_SRC DEBIAN_MIRROR PLATFORMS LONG SEED NPROC IMAGE GPU CUDA CUDA_ARCH
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(origin $(name))),$(name)))
UNKNOWN := $(filter-out $(VARIABLES),$(GIVEN))
# make itself would ignore a misspelt variable without a word
ifneq ($(UNKNOWN),)
  $(error unknown variable $(UNKNOWN); the variables are $(VARIABLES))
endif

ifneq ($(words $(DATASET)) $(words $(TRAIN)) $(words $(TEST)),1 1 1)
  $(error DATASET="$(DATASET)" TRAIN="$(TRAIN)" TEST="$(TEST)": write names of columns without spaces, as in \
    folder+x=fixation_point_x)
endif

ifneq ($(filter-out theano caffe torch,$(ENGINE)),)
  $(error ENGINE=$(ENGINE): give torch, or leave it out: Theano for the shallow net, Caffe for the deep net)
endif

ifneq ($(and $(GPU),$(filter torch,$(ENGINE))),)
  $(error GPU=$(GPU): is for Caffe; for ENGINE=torch, give DEVICE=cuda instead)
endif

ifneq ($(if $(CUDA),,$(filter caffe-cuda,$(MAKECMDGOALS))),)
  $(error CUDA is not given; run make caffe CUDA=/usr/local/cuda, with the folder of the CUDA toolkit)
endif

ifeq ($(origin SEED),command line)
  ifeq ($(filter test-faults,$(MAKECMDGOALS)),)
    $(error SEED=$(SEED): is for make test-faults only; leave it out)
  endif
endif

# read by the scripts and commands below from their environment; paths may hold spaces there
export CAFFE_SRC DEBIAN_MIRROR PYTHON OSIE IMAGES IMAGE CUDA CUDA_ARCH

# ---- What follows from them ------------------------------------------------------------------------------------------

BASE = $(firstword $(subst +, ,$(TRAIN)))
slug = $(subst +,-,$(subst =,-,$(1)))
# osie+gaze=eyes -> osie-gaze-eyes-demo: names every file of this training set and preset
NAME := $(call slug,$(TRAIN))-$(PRESET)
# predictions and scores: salicon-paper, salicon-paper-on-isun, osie-demo-all
SCORED := $(NAME)$(if $(filter-out $(TRAIN),$(TEST)),-on-$(call slug,$(TEST)))$(SPLIT:%=-%)
# scores by another convention stand beside those of the benchmark's
RUN := $(SCORED)$(if $(filter-out mit,$(CONVENTION)),-$(CONVENTION))
TRAIN_DATA := --dataset $(TRAIN) $(if $(TRAIN_ROOT),--data-root "$(TRAIN_ROOT)")
TEST_DATA := --dataset $(TEST) $(if $(TEST_ROOT),--data-root "$(TEST_ROOT)")
CROSS := $(if $(filter-out $(TRAIN),$(TEST)),--train $(TRAIN) $(if $(TRAIN_ROOT),--train-root "$(TRAIN_ROOT)"))
PY := build/env/bin/python
ENGINE_OPTIONS := $(ENGINE:%=--engine %) $(DEVICE:%=--device %) $(PRECISION:%=--precision %)
WORKERS := $(JOBS:%=--jobs %)

MODELS := shallow deep chance centre-prior itti gbvs bms one-human
BASELINES := $(filter-out shallow deep,$(MODELS))

READY_ENV := build/env/.ready
READY_CAFFE := build/caffe/.ready
SHALLOW_DATA := build/data/$(NAME)-shallow/manifest.json
DEEP_DATA := build/data/$(NAME)-deep/manifest.json
SHALLOW := build/runs/$(NAME)-shallow/weights.npz
DEEP := build/runs/$(NAME)-deep/weights.caffemodel
PREDICTIONS := build/predictions/$(SCORED)/shallow/predictions.h5 build/predictions/$(SCORED)/deep/predictions.h5
SCORES := $(MODELS:%=build/scores/$(RUN)/%.json)
NETS := build/nets/$(NAME)/shallow.json build/nets/$(NAME)/deep.json
FIGURES := build/figures/$(RUN)/.ready
TABLES := build/tables/$(RUN).json

# Commands write files completely or not at all, so make must not delete them after a failure or Ctrl-C.
.PRECIOUS: $(SHALLOW_DATA) $(DEEP_DATA) $(SHALLOW) $(DEEP) $(PREDICTIONS) $(SCORES) $(NETS) $(FIGURES) $(TABLES)

.PHONY: FORCE help doctor env caffe cluster extras torch data data-help check-data train-shallow train-deep predict \
  reproduce-tables figures claims fetch test test-caffe test-platforms bench lint clean clean-runs test-faults \
  shallow-engine deep-engine try caffe-cuda

# ---- Help ------------------------------------------------------------------------------------------------------------

help:
	@echo 'Saliency prediction with the two networks of Pan et al., CVPR 2016'
	@echo
	@echo '  make reproduce-tables   run every step below that is missing; write build/tables/*.{md,csv,tex} and index.html'
	@echo '  make test               run the tests'
	@echo '  make test-caffe         run the unit tests of BVLC Caffe for the layers and solver of the deep net  [CUDA=path]'
	@echo '  make test-platforms     run both commands in bare Debian 12 and 13, Ubuntu and the container  [PLATFORMS=names]'
	@echo '  make test-faults        damage inputs and kill commands on purpose: minutes; LONG=1: hours      [SEED=number]'
	@echo '  make bench              run the benchmarks next to other libraries: build/bench/*.json    [OSIE=path]'
	@echo
	@echo '  make doctor             list what is missing on this machine, with the command that installs it'
	@echo '  make env                make build/env: Python 3.11 with the pins of requirements.txt     [PYTHON=path]'
	@echo '  make caffe              build BVLC Caffe with pycaffe in build/caffe                      [CAFFE_SRC=checkout]'
	@echo '                            [CUDA=/usr/local/cuda: for NVIDIA cards, in build/caffe-cuda] [CUDA_ARCH="52 61"]'
	@echo '  make data-help          list the data sets: source, licence, MD5, folder layout'
	@echo '  make check-data         check a data set: missing and damaged files, example images in build/check/'
	@echo '  make data               prepare training data    [NET=shallow|deep] [MIRROR=1] [MEANS=authors] [SKIP_BAD=1]'
	@echo '  make train-shallow      train the shallow net (section 3) in Theano and Lasagne'
	@echo '  make train-deep         train the deep net (section 4) in Caffe    [SOLVER=file] [TRAIN_VAL=file] [GPU=0]'
	@echo '                            [VGG=VGG_CNN_M.caffemodel] [NPROC=2 with ENGINE=torch: two processes or cards]'
	@echo '                            both nets: [ENGINE=torch: in PyTorch] [DEVICE=cuda|cpu] [PRECISION=float32|tf32|bfloat16]'
	@echo '  make fetch              download released weights: MODEL=name (see models/README.md)      [FILE=path]'
	@echo '  make predict            predict saliency maps: IMAGES="images folders videos"  [NET=shallow|deep] [OUT=folder]'
	@echo '                            [WEIGHTS=file] [FORMATS="png overlay npy"] [OPTIONS="name=value ..."] [ENGINE=torch] [DEVICE=cuda|cpu]'
	@echo '                            or SPLIT=test with DATASET=name: the images of a data set    [FORMATS=lsun|salicon|mit300]'
	@echo '  make try                maps of both nets and the classical models side by side: IMAGE=photo.jpg'
	@echo '                            [WEIGHTS="shallow.npz deep.caffemodel"] [OUT=folder]'
	@echo '  make figures            draw Figures 1 to 5, training curves and scores: build/figures/*/'
	@echo '  make claims             run the experiments behind the paper'"'"'s remarks, print the ledger   [EXPERIMENTS="names"]'
	@echo '  make extras             install onnx, onnxruntime and pysaliency into build/env'
	@echo '  make torch              install PyTorch into build/env, for ENGINE=torch'
	@echo '  make cluster            install Dask into build/env, for evaluation.score --dask'
	@echo '  make clean-runs         delete everything trained and computed; make clean deletes build/'
	@echo
	@echo '  DATASET=synthetic       default, generated; or salicon isun mit1003 mit300 osie folder with DATA_ROOT=path;'
	@echo '                          options of the data set follow its name: DATASET=osie+gaze=eyes'
	@echo '  TRAIN=salicon TEST=isun train on one data set, score on another; folders: TRAIN_ROOT=path TEST_ROOT=path'
	@echo '  PRESET=demo             minutes; PRESET=paper: hours to days (default for the training sets of the paper)'
	@echo '  JOBS=1                  number of processes of prepare, check-data, scores (default: all cores) and test (default: 1 or 2)'
	@echo '  CONVENTION=mit          metrics of the MIT benchmark (default); CONVENTION=salicon: of the SALICON server'

# ---- Set-up ----------------------------------------------------------------------------------------------------------

doctor:
	@setup/doctor.sh

env: $(READY_ENV)
caffe: $(if $(CUDA),caffe-cuda,$(READY_CAFFE))

# a moved checkout or another version of the system can leave build/env without its Python
$(READY_ENV): requirements.txt $(shell build/env/bin/python -c '' >/dev/null 2>&1 || echo FORCE)
	@setup/env.sh

$(READY_CAFFE): deep/caffe/build.sh $(wildcard deep/caffe/patches/*.patch) $(shell find deep/caffe/src -type f) $(if $(CAFFE_SRC),FORCE) | $(READY_ENV)
	@CUDA= deep/caffe/build.sh

# beside the other build, for NVIDIA's cards
caffe-cuda: | $(READY_ENV)
	@deep/caffe/build.sh

cluster: | $(READY_ENV)
	@setup/add.sh cluster "Dask is in build/env: python -m evaluation.score ... --dask tcp://scheduler:8786 (or --dask local)"

extras: | $(READY_ENV)
	@setup/add.sh extras "onnx, onnxruntime and pysaliency are in build/env: python -m models.convert --to onnx, models.as_pysaliency"

torch: | $(READY_ENV)
	@setup/add.sh torch "PyTorch is in build/env: make train-shallow train-deep ENGINE=torch" --constraint requirements.txt

# ---- Data and training -----------------------------------------------------------------------------------------------

data-help: | $(READY_ENV)
	@$(PY) -m data.sources $(filter-out synthetic,$(sort $(TRAIN) $(TEST)))

check-data: | $(READY_ENV)
	@$(PY) -m data.check $(TRAIN_DATA) $(WORKERS)
	$(if $(CROSS),@$(PY) -m data.check $(TEST_DATA) $(WORKERS))

data: $(if $(filter deep,$(NET)),,$(SHALLOW_DATA)) $(if $(filter shallow,$(NET)),,$(DEEP_DATA))

$(SHALLOW_DATA): FORCE | $(READY_ENV)
	@$(PY) -m shallow.prepare $(TRAIN_DATA) $(if $(SKIP_BAD),--skip-bad) $(WORKERS) --out $(@D)

$(DEEP_DATA): FORCE | $(READY_ENV)
	@$(PY) -m deep.prepare $(TRAIN_DATA) --preset $(PRESET) --means $(MEANS) $(if $(MIRROR),--mirror) \
	  $(if $(SKIP_BAD),--skip-bad) $(WORKERS) --out $(@D)

train-shallow: $(SHALLOW)
train-deep: $(DEEP)

# checked before the data are prepared
shallow-engine deep-engine: | $(if $(GPU),$(READY_ENV))
	@$(if $(and $(NPROC),$(filter shallow-engine,$@)),echo 'note: NPROC is for the deep net; the shallow net trains in one process' >&2)
	@$(if $(and $(GPU),$(filter shallow-engine,$@)),echo 'note: GPU is for the deep net; the shallow net has ENGINE=torch' >&2)
	@case $(@:-engine=)-$(ENGINE) in shallow-caffe | deep-theano) \
	  echo 'ENGINE=$(ENGINE): not an engine of the $(@:-engine=) net; leave ENGINE out, or give ENGINE=torch' >&2; exit 1; esac
	@$(if $(and $(GPU),$(filter deep-engine,$@)),$(PY) -m deep.card $(GPU))

$(SHALLOW): FORCE | shallow-engine $(SHALLOW_DATA)
	@$(PY) -m shallow.train --data $(dir $(SHALLOW_DATA)) --run $(@D) --preset $(PRESET) $(ENGINE_OPTIONS)

$(DEEP): FORCE | deep-engine $(DEEP_DATA) $(READY_CAFFE)
	@$(PY) -m deep.train --data $(dir $(DEEP_DATA)) --run $(@D) --preset $(PRESET) --solver "$(SOLVER)" \
	  --train-val "$(TRAIN_VAL)" $(if $(VGG),--vgg "$(VGG)") $(ENGINE_OPTIONS) $(GPU:%=--gpu %) $(NPROC:%=--nproc %)

# ---- Predictions, scores, tables -------------------------------------------------------------------------------------

build/predictions/$(SCORED)/shallow/predictions.h5: $(SHALLOW)
	@$(PY) -m models.predict --net shallow --weights $< $(TEST_DATA) $(SPLIT:%=--split %) --out $(@D)

build/predictions/$(SCORED)/deep/predictions.h5: $(DEEP)
	@$(if $(GPU),echo 'note: GPU is for training in Caffe; the predictions of a data set are made on the CPU' >&2)
	@$(PY) -m models.predict --net deep --weights $< $(TEST_DATA) $(SPLIT:%=--split %) --out $(@D)

SCORE = $(PY) -m evaluation.score $(TEST_DATA) $(CROSS) $(SPLIT:%=--split %) --convention $(CONVENTION) $(WORKERS) \
  --prior build/scores/$(RUN)/centre-prior.npz --out $(basename $@)

build/scores/$(RUN)/shallow.json build/scores/$(RUN)/deep.json: build/scores/$(RUN)/%.json: build/predictions/$(SCORED)/%/predictions.h5
	@$(SCORE) --predictions $<

$(BASELINES:%=build/scores/$(RUN)/%.json): build/scores/$(RUN)/%.json: | $(READY_ENV)
	@$(SCORE) --baseline $*

# common/layers.py defines the lists of layers in these files
build/nets/$(NAME)/shallow.json: $(SHALLOW) common/layers.py
	@$(PY) -m models.summary --net shallow --weights $< --out $(basename $@)

build/nets/$(NAME)/deep.json: $(DEEP) common/layers.py
	@$(PY) -m models.summary --net deep --weights $< --out $(basename $@)

$(FIGURES): $(SCORES) $(NETS)
	@$(PY) -m evaluation.figures $(TEST_DATA) $(CROSS) $(SPLIT:%=--split %) \
	  --predictions build/predictions/$(SCORED) --scores build/scores/$(RUN) \
	  --runs-shallow $(dir $(SHALLOW)) --runs-deep $(dir $(DEEP)) --filters build/nets/$(NAME) --out $(@D)
	@touch $@

$(TABLES): $(SCORES) $(NETS) $(FIGURES)
	@$(PY) -m evaluation.tables --scores build/scores/$(RUN) --nets build/nets/$(NAME) \
	  $(if $(TEST_ROOT),--data-root "$(TEST_ROOT)") $(if $(TRAIN_ROOT),--train-root "$(TRAIN_ROOT)") --runs $(dir $(SHALLOW)) $(dir $(DEEP)) --figures build/figures \
	  --preset $(PRESET) --name $(RUN) --out build/tables

# Set-up comes first, so that a missing package is reported in the first minute and not after training.
reproduce-tables: $(READY_ENV) $(READY_CAFFE) $(TABLES)
	@echo 'tables and figures: build/tables/$(RUN).md and build/tables/index.html'

figures: $(READY_ENV) $(READY_CAFFE) $(FIGURES)
	@echo 'figures: build/figures/$(RUN)/'

# with the nets of `make reproduce-tables`, if an experiment needs trained ones
claims: | $(READY_ENV) $(READY_CAFFE)
	@$(PY) -m experiments $(EXPERIMENTS) $(TRAIN_DATA)
	@$(PY) -m evaluation.claims

# ---- Weights in use --------------------------------------------------------------------------------------------------

fetch: | $(READY_ENV)
	@$(PY) -m models.fetch $(or $(MODEL),--help) $(if $(FILE),--file "$(FILE)")

PREDICT_NET := $(or $(NET),deep)
PREDICT_WEIGHTS := $(or $(WEIGHTS),$(if $(filter shallow,$(PREDICT_NET)),$(SHALLOW),$(DEEP)))
PREDICT_OPTIONS := $(OPTIONS) $(ENGINE:%=engine=%) $(DEVICE:%=device=%) $(PRECISION:%=precision=%)
# IMAGES, or with SPLIT the images of a data set; the deep net needs Caffe, unless OpenCV runs it
predict: | $(READY_ENV) $(if $(or $(filter shallow,$(PREDICT_NET)),$(filter engine=opencv,$(OPTIONS))),,$(READY_CAFFE))
	@$(if $(GPU),echo 'note: GPU is for training in Caffe; prediction on a graphics card is ENGINE=torch DEVICE=cuda' >&2)
	@$(PY) -m models.predict --net $(PREDICT_NET) --weights "$(PREDICT_WEIGHTS)" --out "$(or $(OUT),build/maps)" \
	  $(if $(and $(SPLIT),$(if $(IMAGES),,1)),$(TEST_DATA) --split $(SPLIT),--images "$$IMAGES") $(PREDICT_OPTIONS:%=--option %) $(if $(FORMATS),--formats $(FORMATS))

# with fetched weights or those of the newest runs in build/; Caffe is used if it is built, otherwise OpenCV
try: | $(READY_ENV)
	@$(PY) -m models.compare --images "$$IMAGE" $(if $(WEIGHTS),--weights $(WEIGHTS)) --out "$(or $(OUT),build/try)"

# ---- Tests -----------------------------------------------------------------------------------------------------------

test: | $(READY_ENV) $(READY_CAFFE)
	@$(PY) -m pytest --numprocesses $(or $(JOBS),auto) --dist worksteal

test-caffe: | $(if $(CUDA),$(READY_ENV),$(READY_CAFFE))
	@deep/caffe/build.sh test

test-platforms:
	@tests/platforms.sh $(PLATFORMS)

# damaged inputs, and signals at random moments; LONG=1: hours; a new seed each time, unless SEED is given
test-faults: | $(READY_ENV) $(READY_CAFFE)
	@$(PY) -m tests.faults all $(if $(LONG),--long) $(SEED:%=--seed %)

bench: | $(READY_ENV) $(READY_CAFFE)
	@bench/run.sh

lint: | $(READY_ENV)
	@$(PY) -m ruff check .

clean-runs:
	rm -rf build/runs build/predictions build/scores build/nets build/figures build/tables

clean:
	rm -rf build
