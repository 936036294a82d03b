"""``python -m mmboxcaseg`` is the command ``mmboxcaseg``."""

from mmboxcaseg.cli import main

if __name__ == '__main__':
    main()
