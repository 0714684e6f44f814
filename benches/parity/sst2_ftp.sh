#!/usr/bin/env bash
# Runs the pipelines `full` and `small` of pipelines/minilm.ftp over three seeds: this side of docs/parity.md.
# Usage: sst2_ftp.sh FTP MODEL [STORE]     (the program, a Hugging Face directory, where to keep results)
set -euo pipefail
ftp=$(realpath "${1:?the ftp program}") model=$(realpath "${2:?a Hugging Face directory}") store=${3:-$(mktemp -d)}
cd "$(dirname "$0")/../.."
for pipeline in full small; do
  for seed in 1 2 3; do
    echo "$pipeline, seed $seed"
    "$ftp" run pipelines/minilm.ftp "$pipeline" --store "$store" --set model="$model" --set seed="$seed"
  done
done
