"""The command ``mmboxcaseg convert voc-sbd``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('convert_voc_sbd')
