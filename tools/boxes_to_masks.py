"""The command ``mmboxcaseg masks``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('masks')
