#!/usr/bin/env bash
# Test with several processes, see dist.sh.
. "$(dirname "${BASH_SOURCE[0]}")/dist.sh" test.py 'CONFIG CHECKPOINT' "$@"
