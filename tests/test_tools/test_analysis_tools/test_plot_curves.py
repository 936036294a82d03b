import json
import re
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[3] / 'tools' / 'analysis_tools' / 'plot_curves.py'


@pytest.fixture
def work_dir(tmp_path):
    log = tmp_path / 'work' / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps(dict(lr=0.1, loss=2.0, epoch=1, step=1)))
    return tmp_path / 'work'


@pytest.mark.parametrize('suffix', ['.png', '.pdf'])
def test_makes_the_folder(work_dir, run, suffix):
    out = work_dir / 'new' / f'curves{suffix}'
    code, printed, _ = run(work_dir, '--out', out)
    assert code == 0 and f'wrote {out}' in printed
    assert out.stat().st_size and list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    ('out', 'message'),
    [
        ('work', 'work: it is a folder'),
        ('work/curves', 'its name must end in .png'),
        ('work/curves.json', 'its name must end in .png'),
    ],
)
def test_refuses_in_one_sentence(work_dir, run, out, message):
    before = sorted(work_dir.parent.rglob('*'))
    code, _, err = run(work_dir, '--out', work_dir.parent / out)
    assert code == 2 and err.startswith('error: ') and re.search(message, err), err
    assert sorted(work_dir.parent.rglob('*')) == before
