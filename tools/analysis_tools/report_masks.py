"""The command ``mmboxcaseg report``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('report')
