"""The command ``mmboxcaseg adapt``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('adapt')
