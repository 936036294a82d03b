"""The command ``mmboxcaseg score``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('score')
