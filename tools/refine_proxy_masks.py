"""The command ``mmboxcaseg refine``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('refine')
