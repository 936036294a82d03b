"""The command ``mmboxcaseg combine-quality``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('combine_quality')
