"""The command ``mmboxcaseg merge-back``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('merge_back')
