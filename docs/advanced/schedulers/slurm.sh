#!/bin/bash
# clipcli as a Slurm array: one shard a task, then one job that merges. Needs a file system that all nodes share.
#
#   PHOTOS=/data/photos OUT=/data/photos.parquet SHARDS=32 docs/advanced/schedulers/slurm.sh
#
# A task that failed, or ran out of time, is handed in again by itself: --resume goes on where it stopped.
#   PHOTOS=… OUT=… SHARDS=32 sbatch --array=7 docs/advanced/schedulers/slurm.sh
#SBATCH --job-name=clipcli
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-task=1
#SBATCH --mem=16G
#SBATCH --time=04:00:00
#SBATCH --requeue
set -euo pipefail

: "${PHOTOS:?a folder, a list or a pattern of shards}" "${OUT:?the file to make}" "${SHARDS:?how many shares}"
parts=$OUT.shards

# Handed in by a person: start the array, and the merge for when all of it is done.
if [[ -z ${SLURM_JOB_ID:-} ]]; then
  mkdir -p "$parts"
  export PHOTOS OUT SHARDS
  array=$(sbatch --parsable --array="1-$SHARDS" "$0")
  MERGE=1 sbatch --gpus-per-task=0 --dependency="afterok:$array" "$0"
  exit
fi

if [[ -n ${MERGE:-} ]]; then
  exec clipcli merge "$parts"/*.npy -o "$OUT"
fi

# The cache of vectors is a database: on a disk of the node, not on the shared one.
export CLIPCLI_CACHE_DIR=${CLIPCLI_CACHE_DIR:-${TMPDIR:-/tmp}/clipcli-$USER}
shard=$SLURM_ARRAY_TASK_ID
status=0
srun clipcli embed "$PHOTOS" -o "$parts/$shard.npy" --shard "$shard/$SHARDS" --workers "$SLURM_CPUS_PER_TASK" --resume || status=$?
# 3 says that some images could not be used; they are named in the shard's errors, and the array goes on.
if [[ $status -ne 3 ]]; then exit "$status"; fi
