"""The command ``mmboxcaseg self-train``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('self_train')
