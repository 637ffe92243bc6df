#!/usr/bin/env bash
# Score saliency maps on several nodes of a Slurm cluster, with Dask:
#   sbatch docs/slurm-score.sh --predictions my-maps/ --dataset osie --data-root /data/osie --out scores/mine
# Set up before, on a machine with a network: make env cluster. All nodes must see this folder and the data at the same path.
#SBATCH --job-name=saliency-score
#SBATCH --output=%x-%j.log
#SBATCH --ntasks=32
#SBATCH --cpus-per-task=1
#SBATCH --mem-per-cpu=2G
#SBATCH --time=01:00:00
set -euo pipefail

address=tcp://$(hostname):${PORT:-8786}
build/env/bin/python -m distributed.cli.dask_scheduler --port "${PORT:-8786}" --no-dashboard &
scheduler=$!
# one worker per task; they end with the scheduler
srun build/env/bin/python -m distributed.cli.dask_worker "$address" --nthreads 1 --no-nanny --no-dashboard --death-timeout 120 &
trap 'kill "$scheduler" 2>/dev/null; wait' EXIT
# workers load this project from a network disk, which takes time
build/env/bin/python -c "import sys; from distributed import Client
Client(sys.argv[1], timeout=300).wait_for_workers(int(sys.argv[2]), timeout=600)" "$address" "$SLURM_NTASKS"
build/env/bin/python -m evaluation.score "$@" --dask "$address"
