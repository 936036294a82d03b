#!/usr/bin/env bash
# Train on a slurm cluster, see slurm.sh.
. "$(dirname "${BASH_SOURCE[0]}")/slurm.sh" train.py WORK_DIR --work-dir "$@"
