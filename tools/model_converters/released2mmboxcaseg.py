"""The command ``mmboxcaseg convert released``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('convert_released')
