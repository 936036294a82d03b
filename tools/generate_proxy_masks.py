"""The command ``mmboxcaseg generate``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('generate')
