"""The command ``mmboxcaseg review``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('review')
