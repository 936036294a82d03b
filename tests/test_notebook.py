"""The notebook of the demo, run cell by cell in this process: a kernel would import all anew."""

import ast
import json
import shutil
from pathlib import Path

import numpy as np

from mmboxcaseg.proxy import decode_rle

NOTEBOOK = Path(__file__).parents[1] / 'demo' / 'boxes_to_masks.ipynb'


def run_cell(source, names):
    """Run a cell; returns the value of its last line if that is an expression."""
    *body, last = ast.parse(source).body
    exec(compile(ast.Module(body, []), 'cell', 'exec'), names)  # noqa: S102
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), 'cell', 'eval'), names)  # noqa: S307
    exec(compile(ast.Module([last], []), 'cell', 'exec'), names)  # noqa: S102


def test_notebook_runs(tmp_path, monkeypatch, capsys):
    content = json.loads(NOTEBOOK.read_text())
    shutil.copy(NOTEBOOK.with_name('photographs.json'), tmp_path)
    monkeypatch.chdir(tmp_path)
    names, pictures = {}, 0
    for cell in content['cells']:
        if cell['cell_type'] == 'code':
            value = run_cell(''.join(cell['source']), names)
            if hasattr(value, '_repr_jpeg_'):
                assert value._repr_jpeg_().startswith(b'\xff\xd8')
                pictures += 1
    assert pictures == 2
    assert 'photographs.json: COCO, 15 boxes on 4 images' in capsys.readouterr().out
    annotations = json.loads((tmp_path / 'masks' / 'masks.json').read_text())['annotations']
    assert len(annotations) == 15
    # The cup, which is asked for with the same boxes beside it in both ways.
    cup = decode_rle(annotations[0]['segmentation'], (400, 600))
    assert np.array_equal(names['masks'][0], cup) and 0.8 < names['quality'][0] < 0.9
    assert (tmp_path / 'masks' / 'report.html').stat().st_size > 100_000


def test_outputs_are_small_and_of_this_run_alone():
    text = NOTEBOOK.read_text()
    assert len(text) < 300_000
    content = json.loads(text)
    outputs = [o for cell in content['cells'] for o in cell.get('outputs', ())]
    assert sum('image/jpeg' in output.get('data', {}) for output in outputs) == 2
    assert not any(output.get('name') == 'stderr' for output in outputs)
    assert 'site-packages' not in text
