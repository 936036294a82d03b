"""The command ``mmboxcaseg toy``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('toy')
