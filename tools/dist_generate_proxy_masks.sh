#!/usr/bin/env bash
# Make proxy masks with several processes by torchrun: one a GPU, or on CPUs where there is none.
# Machines share the folder of --out, where finished parts lie, and are of one kind: another processor
# or GPU may round differently.
# NNODES, NODE_RANK, MASTER_ADDR, PORT: as torchrun's; PYTHON: the interpreter.
set -euo pipefail
if ! [[ ${3:-} =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 CONFIG CHECKPOINT PROCESSES [flags of tools/generate_proxy_masks.py]" >&2
    exit 2
fi
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
THREADS=$(( $(getconf _NPROCESSORS_ONLN) / $3 ))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( THREADS > 0 ? THREADS : 1 ))}
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

exec "${PYTHON:-python}" -m mmboxcaseg.engine.launch \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$3" \
    "$ROOT/tools/generate_proxy_masks.py" "$1" "$2" --launcher pytorch "${@:4}"
