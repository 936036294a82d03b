#!/usr/bin/env bash
# Make proxy masks with several processes, see dist.sh.
# Machines share the folder of --out, where finished parts lie, and are of one kind: another processor
# or GPU may round differently.
. "$(dirname "${BASH_SOURCE[0]}")/dist.sh" generate_proxy_masks.py 'CONFIG CHECKPOINT' "$@"
