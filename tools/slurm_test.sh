#!/usr/bin/env bash
# Test on a slurm cluster, see slurm.sh.
. "$(dirname "${BASH_SOURCE[0]}")/slurm.sh" test.py CHECKPOINT '' "$@"
