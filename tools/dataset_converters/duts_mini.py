"""The command ``mmboxcaseg convert duts-mini``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('convert_duts_mini')
