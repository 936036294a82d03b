"""The command ``mmboxcaseg draw``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('draw')
