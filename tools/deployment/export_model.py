"""The command ``mmboxcaseg export``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('export')
