"""The command ``mmboxcaseg test``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('test')
