"""The command ``mmboxcaseg convert masks``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('convert_masks')
