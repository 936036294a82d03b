"""The command ``mmboxcaseg check-leakage``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('check_leakage')
