"""The command ``mmboxcaseg plot-curves``."""

from mmboxcaseg.cli import run

if __name__ == '__main__':
    run('plot_curves')
