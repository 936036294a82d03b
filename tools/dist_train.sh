#!/usr/bin/env bash
# Train with several processes, see dist.sh.
. "$(dirname "${BASH_SOURCE[0]}")/dist.sh" train.py CONFIG "$@"
