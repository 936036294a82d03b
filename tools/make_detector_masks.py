"""The command ``mmboxcaseg detector-masks``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('detector_masks')
