"""The command ``mmboxcaseg convert coco-mini``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('convert_coco_mini')
