# What dist_*.sh share: a tool in several processes by torchrun, one a GPU, or on CPUs where there is none.
# They source it with the tool, the names of its arguments before PROCESSES, and their own arguments.
# NNODES, NODE_RANK, MASTER_ADDR, PORT: as torchrun's; PYTHON: the interpreter.
set -euo pipefail
read -ra NAMES <<< "$2"
TOOL=$1 COUNT=${#NAMES[@]}
shift 2
PROCESSES=${*:COUNT+1:1}
if ! [[ $PROCESSES =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 ${NAMES[*]} PROCESSES [flags of tools/$TOOL]" >&2
    exit 2
fi
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
THREADS=$(( $(getconf _NPROCESSORS_ONLN) / PROCESSES ))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( THREADS > 0 ? THREADS : 1 ))}
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

exec "${PYTHON:-python}" -m mmboxcaseg.engine.launch \
    --nnodes="${NNODES:-1}" \
    --node_rank="${NODE_RANK:-0}" \
    --master_addr="${MASTER_ADDR:-127.0.0.1}" \
    --master_port="${PORT:-29500}" \
    --nproc_per_node="$PROCESSES" \
    "$ROOT/tools/$TOOL" "${@:1:COUNT}" --launcher pytorch "${@:COUNT+2}"
