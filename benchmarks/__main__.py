"""Run every benchmark, each in a process of its own, and write one table into docs/benchmarks.md.

Only what stands between two marks in the file is replaced: the text around it stays. A run at a
share of the full sizes is printed and not written.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from datetime import date
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

from table import HEADER, Row, share, split

FOLDER = Path(__file__).parent
DOC = FOLDER.parent / 'docs' / 'benchmarks.md'
#: In the order in which the steps of the pipeline follow each other.
SUBJECTS = (
    *('patches', 'loss', 'training', 'dataset', 'paste', 'merge', 'metric', 'generate', 'refine'),
    *('mask_head', 'view'),
)
LIBRARIES = ('torch', 'numpy', 'cv2', 'mmengine', 'mmcv', 'mmdet')


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        '--data', type=Path, default=Path('data'), help='folder of coco_mini and duts_mini'
    )
    parser.add_argument('--share', type=share, default=1, help='part of the full sizes to run')
    parser.add_argument('--out', type=Path, help='another file to write into, of any run')
    args = parser.parse_args()
    for name in ('coco_mini', 'duts_mini'):
        if not (args.data / name).is_dir():
            parser.error(f'there is no {args.data / name}: give the folder of both with --data')
    out = args.out or (DOC if args.share == 1 else None)
    before, after = split(out.read_text()) if out else ('', '')
    lines, seconds = [], {}
    for subject in SUBJECTS:
        start = time.perf_counter()
        script = f'bench_{subject}.py'
        print(f'\n{script}', flush=True)
        rows = run(FOLDER / script, args.data, args.share)
        seconds[script] = time.perf_counter() - start
        lines += [row.markdown() for row in rows]
    text = '\n'.join([describe(args, seconds), '', HEADER, *lines])
    print(f'\n{text}')
    if out:
        out.write_text(f'{before}{text}\n{after}')


def run(script: Path, data: Path, share: float) -> list[Row]:
    """Run a benchmark, which prints its rows as they come, with one thread a process."""
    with TemporaryDirectory() as folder:
        rows = Path(folder, 'rows.json')
        options = ['--data', data, '--share', str(share), '--json', rows]
        environment = os.environ | dict(OMP_NUM_THREADS='1')
        done = subprocess.run([sys.executable, '-W', 'ignore', script, *options], env=environment)
        if done.returncode:
            raise SystemExit(f'error: {script.name} ends with {done.returncode}')
        return [Row(**row) for row in json.loads(rows.read_text())]


def describe(args: argparse.Namespace, seconds: dict[str, float]) -> str:
    """Say when and where the table was measured, and how long each script took."""
    share = '' if args.share == 1 else f', {args.share:.1%} of the full sizes'
    versions = (f'{name} {import_module(name).__version__}' for name in LIBRARIES)
    times = ', '.join(f'`{script}` {second:.0f} s' for script, second in seconds.items())
    return (
        f'Measured on {date.today()}{share}, on {cpu_model()}, {os.cpu_count()} cores, '
        f'{memory_gib():.0f} GiB; Python {platform.python_version()}, {", ".join(versions)}. '
        f'{sum(seconds.values()) / 60:.0f} minutes by the clock: {times}.'
    )


def cpu_model() -> str:
    """The name that the processor gives itself."""
    for line in Path('/proc/cpuinfo').read_text().splitlines():
        if line.startswith('model name'):
            return line.split(':', 1)[1].strip()
    return platform.machine()


def memory_gib() -> float:
    """Memory of the machine."""
    return os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30


if __name__ == '__main__':
    main()
