"""The command ``mmboxcaseg convert duts-single``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('convert_duts_single')
