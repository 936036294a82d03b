# What slurm_*.sh share: a tool on a slurm cluster.
# They source it with the tool, the name of its last argument, the option that takes that argument
# ('' for none), and their own arguments.
# GPUS, GPUS_PER_NODE, CPUS_PER_TASK, SRUN_ARGS: the job's; PYTHON: the interpreter.
set -euo pipefail
TOOL=$1 NAME=$2 OPTION=$3
shift 3
if [ $# -lt 4 ]; then
    echo "usage: $0 PARTITION JOB_NAME CONFIG $NAME [flags of tools/$TOOL]" >&2
    exit 2
fi
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
GPUS=${GPUS:-8}
GPUS_PER_NODE=${GPUS_PER_NODE:-$(( GPUS < 8 ? GPUS : 8 ))}
export PYTHONPATH=$ROOT${PYTHONPATH:+:$PYTHONPATH}

# SRUN_ARGS is several words.
# shellcheck disable=SC2086
exec srun -p "$1" \
    --job-name="$2" \
    --gres=gpu:"$GPUS_PER_NODE" \
    --ntasks="$GPUS" \
    --ntasks-per-node="$GPUS_PER_NODE" \
    --cpus-per-task="${CPUS_PER_TASK:-5}" \
    --kill-on-bad-exit=1 \
    ${SRUN_ARGS:-} \
    "${PYTHON:-python}" -u "$ROOT/tools/$TOOL" "$3" $OPTION "$4" --launcher slurm "${@:5}"
