"""The command ``mmboxcaseg publish-model``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('publish_model')
