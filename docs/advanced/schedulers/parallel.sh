#!/bin/bash
# clipcli through GNU parallel: shards on this machine, or over ssh on those of a file, then the merge.
#
#   docs/advanced/schedulers/parallel.sh /data/photos photos.parquet 8
#   docs/advanced/schedulers/parallel.sh /data/photos /data/photos.parquet 32 hosts.txt     # one a line, such as 2/user@node1
#
# Run again, it does only what is missing: parallel's log knows the shards that are done, --resume goes on within one.
set -euo pipefail

photos=${1:?images} out=${2:?the file to make} shards=${3:?how many shares} hosts=${4:-}
parts=$out.shards
mkdir -p "$parts"
where=(--jobs "${JOBS:-2}")
if [[ -n $hosts ]]; then where=(--sshloginfile "$hosts" --workdir "$PWD"); fi

# 3 says that some images could not be used: they are named in the shard's errors.
# shellcheck disable=SC2016 # parallel's shell expands it
one='clipcli embed {1} -o {2}/{4}.npy --shard {4}/{3} --resume --quiet || [ $? -eq 3 ]'
parallel "${where[@]}" --retries 3 --joblog "$parts/log" --resume-failed --eta \
  "$one" ::: "$photos" ::: "$parts" ::: "$shards" ::: $(seq "$shards")
clipcli merge "$parts"/*.npy -o "$out"
