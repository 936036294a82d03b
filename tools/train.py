"""The command ``mmboxcaseg train``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('train')
