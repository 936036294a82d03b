"""Exported networks: as the network itself in ONNX Runtime and torch, of any number of objects."""

import ast
import json
import runpy
import shutil
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage import data

import mmboxcaseg
from mmboxcaseg import config_path
from mmboxcaseg.apis import BoxCasegPredictor, export_model, exporting, init_model
from mmboxcaseg.cli import main
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.errors import InputError
from mmboxcaseg.models.segmentors import BoxCasegGraph
from mmboxcaseg.pretrained import SHIPPED, weights_path

DEMO = Path(__file__).parents[2] / 'demo' / 'onnx_masks.py'
BBOXES = [[172, 18, 409, 306], [76, 66, 479, 390], [318, 67, 425, 326], [590, -4, 700, 80.5]]
#: The shipped network, cut short and with patches of 64 pixels.
SMALL = {
    'model.backbone.out_stages': (1, 2),
    'model.neck.in_channels': [16, 24],
    'test_dataloader.dataset.pipeline.BoxPatch.size': (64, 80),
}
needs_onnx = pytest.mark.skipif(
    not all(map(find_spec, ('onnx', 'onnxscript', 'onnxruntime'))),
    reason="onnx, onnxscript or onnxruntime is not installed: pip install '.[export]'",
)


def small_config(**options):
    return load_config(config_path(SHIPPED.config), {**SMALL, **options})


@pytest.fixture(scope='module')
def checkpoint(tmp_path_factory):
    """Random weights of the small network, which draw the prompts into its maps too."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('export') / 'small.pth'
    model = init_model(small_config())
    model.init_weights()
    stem = model.backbone.stem.conv.weight
    torch.nn.init.normal_(stem.data[:, 3:], std=0.2)
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.fixture(scope='module')
def exported(checkpoint, tmp_path_factory):
    """An ONNX file of the small network, its config and checkpoint."""
    out = tmp_path_factory.mktemp('onnx') / 'small.onnx'
    config = small_config(**{'model.test_cfg.slack': 0.1})
    said = export_model(out, config, checkpoint)
    assert 'patches (64, 80, 3), bboxes (4,), windows (4,), others (2, 4)' in said
    return out, config, checkpoint


@pytest.fixture(scope='module')
def exported_shipped(tmp_path_factory):
    out = tmp_path_factory.mktemp('onnx') / 'shipped.onnx'
    main(['export', str(out)])
    return out, config_path(SHIPPED.config), weights_path()


@needs_onnx
@pytest.mark.parametrize(
    'network', ['exported', pytest.param('exported_shipped', marks=pytest.mark.slow)]
)
def test_onnx_is_the_network(network, request):
    from onnxruntime import InferenceSession

    path, config, checkpoint = request.getfixturevalue(network)
    session = InferenceSession(path)
    meta = session.get_modelmeta().custom_metadata_map
    size = json.loads(meta['height']), json.loads(meta['width'])
    assert json.loads(meta['version']) == mmboxcaseg.__version__
    model = init_model(config, checkpoint)
    predictor = BoxCasegPredictor(model)
    graph = BoxCasegGraph(model)

    # Maps of photographs' patches, of one object and of several.
    image = np.ascontiguousarray(data.coffee()[..., ::-1])
    packed = list(predictor.pack(image, BBOXES))
    patches = torch.stack([one['inputs'].permute(1, 2, 0) for one in packed])
    bboxes = torch.cat([one['data_samples'].gt_instances.bboxes for one in packed])
    others = [one['data_samples'].other_instances.bboxes for one in packed]
    inputs = dict(
        patches=patches,
        bboxes=bboxes,
        windows=bboxes + torch.tensor([-2.0, -2, 2, 2]) * (model.slack > 0),
        others=torch.nn.utils.rnn.pad_sequence(others, batch_first=True),
    )
    assert patches.shape[1:3] == size
    for count in (1, 2, 4):
        part = {name: value[:count] for name, value in inputs.items()}
        with torch.no_grad():
            expected = graph(**part)
        found = session.run(None, {name: value.numpy() for name, value in part.items()})
        assert expected[0].std() > 0.01
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, atol=1e-4, rtol=0)

    # Files of a photograph and boxes to masks, by the example.
    predict = runpy.run_path(str(DEMO))['predict']
    for photograph in (image, np.ascontiguousarray(data.astronaut()[..., ::-1])):
        predictor.set_image(photograph)
        masks, quality = predictor.predict(BBOXES[:3])
        found, rated = predict(session, photograph, BBOXES[:3])
        np.testing.assert_allclose(rated, quality, atol=1e-4)
        union, common = np.sum(masks | found, (1, 2)), np.sum(masks & found, (1, 2))
        assert np.all(common >= 0.999 * union) and np.all(union > 0)


@needs_onnx
def test_example_is_a_program_of_its_own(exported, tmp_path, monkeypatch):
    tree = ast.parse(DEMO.read_text())
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = {name.name for node in imported for name in node.names}
    assert names == {'argparse', 'cv2', 'json', 'numpy', 'onnxruntime'}

    import cv2

    image, target = tmp_path / 'image.png', tmp_path / 'masks.png'
    cv2.imwrite(str(image), data.coffee()[..., ::-1])
    words = [exported[0], image, target, '76,66,479,390', '172,18,409,306']
    monkeypatch.setattr('sys.argv', [str(DEMO), *map(str, words)])
    runpy.run_path(str(DEMO), run_name='__main__')
    drawn = cv2.imread(str(target), cv2.IMREAD_GRAYSCALE)
    assert drawn.shape == (400, 600) and set(np.unique(drawn)) == {0, 1, 2}


def test_program_of_torch_is_the_network(checkpoint, tmp_path, capsys):
    config = small_config()
    config.dump(tmp_path / 'small.py')
    out = tmp_path / 'small.pt2'
    threshold = 'model.test_cfg.threshold=best'
    main(
        ['export', str(tmp_path / 'small.py'), str(checkpoint), str(out)]
        + ['--cfg-options', threshold]
    )
    assert capsys.readouterr().out.startswith(f'{out}: ')
    files = {'mmboxcaseg.json': ''}
    program = torch.export.load(out, extra_files=files).module()
    meta = json.loads(files['mmboxcaseg.json'])
    assert (meta['height'], meta['width'], meta['margin']) == (64, 80, 0.15)
    assert (meta['threshold'], meta['slack'], meta['channels']) == ('best', 0.0, 'RGB')
    config.model.test_cfg.threshold = 'best'
    graph = BoxCasegGraph(init_model(config, checkpoint))
    for count, others in ((1, 1), (1, 0), (5, 3)):
        inputs = exporting._random_inputs(graph, (64, 80), count, others)
        # As large as the patches, which torch itself takes another way with.
        inputs['windows'] = torch.tensor([[0.0, 0, 80, 64]]).repeat(count, 1)
        with torch.no_grad():
            for one, other in zip(program(**inputs), graph(**inputs), strict=True):
                torch.testing.assert_close(one, other, atol=1e-5, rtol=0)


def test_what_cannot_be_exported_is_refused(checkpoint, tmp_path, monkeypatch):
    config = small_config()
    with pytest.raises(InputError, match='its name must end in .onnx or .pt2'):
        export_model(tmp_path / 'small.pth', config, checkpoint)
    copied = shutil.copy(checkpoint, tmp_path / 'small.pt2')
    with pytest.raises(InputError, match='small.pt2 is an input file'):
        export_model(copied, config, copied)
    flipped = small_config()
    flipped.test_dataloader.dataset.pipeline.insert(1, dict(type='RandomFlip', prob=1.0))
    with pytest.raises(InputError, match='not LoadPatchImage, RandomFlip, BoxPatch'):
        export_model(tmp_path / 'small.pt2', flipped, checkpoint)
    wide = small_config(**{'model.test_cfg.slack': 0.3})
    with pytest.raises(InputError, match='a slack of 0.3, but a BoxPatch'):
        export_model(tmp_path / 'small.pt2', wide, checkpoint)
    monkeypatch.setattr(exporting, 'find_spec', lambda name: name != 'onnxscript')
    with pytest.raises(InputError, match='onnxscript must be installed: run pip install onnx'):
        export_model(tmp_path / 'small.onnx', config, checkpoint)

    def branch(self, maps):
        return (maps, maps) if maps.sum() > 0 else (maps, maps)

    monkeypatch.setattr(BoxCasegGraph, '_rate', branch)
    with pytest.raises(InputError, match='cannot be exported by torch .*: [A-Z].*'):
        export_model(tmp_path / 'small.pt2', config, checkpoint)
    assert not list(tmp_path.glob('small.onnx')) and not list(tmp_path.glob('*.tmp'))
