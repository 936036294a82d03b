"""The benchmark of a GPU, at the tiny size that it has on a CPU."""

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / 'benchmarks'
# In seconds on two cores: 5 each, but 30 and more for the last two, which start trainings.
QUICK = ('numbers', 'generation', 'loading', 'compile', 'demo')
SLOW = ('training', 'mask_rcnn', 'resume', 'distributed')

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason='it would run at its full size')


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.syspath_prepend(FOLDER)
    spec = importlib.util.spec_from_file_location('gpu_benchmark', FOLDER / 'gpu.py')
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # its dataclasses look there
    spec.loader.exec_module(module)
    return module


def run(tmp_path, *options):
    from_table = 'from table import MARKS; print(*MARKS, sep="", end="")'
    marks = subprocess.run(
        [sys.executable, '-W', 'ignore', '-c', from_table],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        env=os.environ | dict(PYTHONPATH=str(FOLDER.parent)),
    ).stdout
    out = tmp_path / 'gpu.md'
    out.write_text(f'# Head\n\n{marks}\n\nfoot\n')
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', FOLDER / 'gpu.py', '--out', out, *options],
        capture_output=True,
        text=True,
    )
    return done, out.read_text()


def check(done, text, sections):
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert text.startswith('# Head\n') and text.endswith('foot\n')
    assert text.count('\n### ') == len(sections)
    assert 'failed' not in text and '**no**' not in text
    # What is printed is what is written.
    rows = [line for line in text.splitlines() if line.startswith('|') and 'what' not in line]
    assert all(row in done.stdout for row in rows if not row.startswith('|---'))


def test_quick_sections(tmp_path):
    done, text = run(tmp_path, '--only', *QUICK)
    check(done, text, QUICK)
    assert 'no GPU, at a tiny size' in text
    assert '| losses in float64, relative |' in text
    assert "| small network, 160x160, --tta: pixels other than the CPU's |" in text


@pytest.mark.slow
def test_slow_sections(tmp_path):
    done, text = run(tmp_path, '--only', *SLOW)
    check(done, text, SLOW)
    assert '| our mask head |' in text
    assert '| weights after a kill and --resume, deterministic | equal to the bit |' in text
    assert '| weights of one process with gloo and without | equal to the bit |' in text


def test_every_section_is_tested(gpu):
    assert set(gpu.SECTIONS) == {*QUICK, *SLOW}


@pytest.fixture
def main(gpu, tmp_path, monkeypatch):
    def call(sections, *options):
        monkeypatch.setattr(gpu, 'SECTIONS', sections)
        monkeypatch.setattr(gpu, 'draw_data', lambda *_: None)
        monkeypatch.setattr(gpu, 'own_process', lambda: ThreadPoolExecutor(1))
        monkeypatch.setattr(gpu, 'quiet', lambda: None)
        before, after = gpu.split((gpu.DOC).read_text())
        out = tmp_path / 'gpu.md'
        out.write_text(f'{before}old\n{after}')
        monkeypatch.setattr(sys, 'argv', ['gpu.py', '--out', str(out), *options])
        try:
            gpu.main()
        except SystemExit as error:
            return out.read_text(), error.code
        return out.read_text(), 0

    return call


def section(gpu, title, *lines, seconds=0, error=None):
    def rows(machine):
        yield from lines
        if error:
            raise error

    return gpu.Section(title, rows, seconds)


def test_a_failure_costs_its_section_alone(gpu, main):
    first = section(gpu, 'First', gpu.Line('one', '1'), error=ValueError('a | b'))
    text, code = main(dict(first=first, second=section(gpu, 'Second', gpu.Line('two', '2'))))
    assert 'FAILED' in code
    assert '| one | 1 |  |\n| **failed** | ValueError: a / b | runs (**no**) |' in text
    assert '### Second' in text and '| two | 2 |  |' in text
    assert 'old' not in text


def test_a_bound_that_is_not_kept_is_told(gpu, main):
    sections = dict(a=section(gpu, 'A', gpu.bounded('error', 0.2, 0.1, ' of all')))
    text, code = main(sections)
    assert '| error | 0.2 of all | at most 0.1 (**no**) |' in text
    assert 'FAILED' in code
    text, code = main(dict(a=section(gpu, 'A', gpu.bounded('error', 0.1, 0.1))))
    assert '| error | 0.1 | at most 0.1 (yes) |' in text
    assert code == 0


def test_what_does_not_fit_is_left_out(gpu, main, monkeypatch):
    monkeypatch.setattr(gpu.Machine, 'tiny', False)
    sections = dict(
        long=section(gpu, 'Long', gpu.Line('x', 'y'), seconds=100),
        short=section(gpu, 'Short', gpu.Line('x', 'y'), seconds=10),
    )
    text, code = main(sections, '--minutes', '1')
    assert code == 0
    assert '### Long' not in text and '### Short' in text
    assert 'Left out for want of time (--minutes 1): Long (about 100 s).' in text


def test_clock_tells_work_from_waiting(gpu, monkeypatch):
    times = iter([0, 2, 3, 6, 6, 10])
    clock = gpu.Clock(torch.device('cpu'))
    monkeypatch.setattr(gpu.time, 'perf_counter', lambda: next(times))
    for _ in range(3):
        with clock.piece():
            pass
    assert clock.seconds == 10
    assert clock.waiting == 0.1


def test_errors_are_relative(gpu):
    one = gpu.Evaluated(dict(a=1.0, b=-2.0), torch.tensor([3.0, 4]), dict(m=torch.zeros(2)))
    other = gpu.Evaluated(dict(a=1.1, b=-2.0), torch.tensor([3.0, 5]), dict(m=torch.ones(2)))
    assert other.loss_error(one) == pytest.approx(0.1)
    assert other.gradient_error(one) == pytest.approx(0.2)
    assert other.map_error(one) == 1
    one.maps['m'][0] = 1
    assert (other.map_error(one), other.map_error(one, mean=True)) == (1, 0.5)


def test_clock_asks_the_gpu(gpu, monkeypatch):
    times = iter([0, 2000, 3000, 4000])

    class Event:
        def __init__(self, enable_timing):
            assert enable_timing

        def record(self):
            self.time = next(times)

        def elapsed_time(self, other):
            return other.time - self.time

    waited = []
    monkeypatch.setattr(torch.cuda, 'Event', Event)
    monkeypatch.setattr(torch.cuda, 'synchronize', waited.append)
    clock = gpu.Clock(torch.device('cuda'))
    for _ in range(2):
        with clock.piece():
            pass
    assert not waited  # the host runs ahead of the GPU
    assert clock.seconds == 4
    assert clock.waiting == 0.25
    assert waited


def test_spans_that_overlap_count_once(gpu):
    assert gpu.length_of_union([(5, 6), (0, 3), (1, 2), (2, 4)]) == 5
    assert gpu.length_of_union([]) == 0


@pytest.mark.parametrize(
    ('error', 'expected'),
    [
        (None, 'fits 12 GB'),
        (torch.OutOfMemoryError('no'), 'does not fit 12 GB (OutOfMemoryError)'),
    ],
)
def test_a_small_card_is_tried(gpu, monkeypatch, error, expected):
    class Model:
        def train_step(self, batch, wrapper):
            assert shares == [11 / 80]
            if error:
                raise error

    shares = []
    properties = type('Properties', (), dict(total_memory=80 * gpu.GIB))
    monkeypatch.setattr(torch.cuda, 'get_device_properties', lambda device: properties)
    monkeypatch.setattr(torch.cuda, 'set_per_process_memory_fraction', shares.append)
    for name in ('synchronize', 'empty_cache'):
        monkeypatch.setattr(torch.cuda, name, lambda *_: None)
    machine = type('Machine', (), dict(device=torch.device('cuda')))
    assert gpu.fits(machine, Model(), None, {}) == expected
    assert shares == [11 / 80, 1.0]
