#!/usr/bin/env bash
# Train a net on one node of a Slurm cluster:
#   sbatch docs/slurm-train.sh deep DATASET=salicon DATA_ROOT=/data/salicon [NAME=value ...]
# Set up before, on a machine with a network: make env caffe (on a card: make torch, sbatch --gres=gpu:1, ENGINE=torch).
# Shortly before its time is over, the job stops at a checkpoint and queues itself again, until the net is trained.
#SBATCH --job-name=saliency-train
#SBATCH --output=%x-%j.log
#SBATCH --open-mode=append
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --mem=8G
#SBATCH --time=12:00:00
#SBATCH --signal=B:TERM@300
#SBATCH --requeue
set -euo pipefail

export OMP_NUM_THREADS=$SLURM_CPUS_PER_TASK OPENBLAS_NUM_THREADS=$SLURM_CPUS_PER_TASK
make "train-${1:?shallow or deep}" "${@:2}" &
training=$!
trap 'kill -TERM "$training"; wait "$training" || true; scontrol requeue "$SLURM_JOB_ID"; exit' TERM
wait "$training"
