"""The command ``mmboxcaseg baseline-masks``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('baseline_masks')
