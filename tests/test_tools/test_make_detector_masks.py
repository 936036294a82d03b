import json
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from mmengine.registry import DefaultScope

from mmboxcaseg.coco import load_coco
from mmboxcaseg.engine.config import build_model, load_config
from mmboxcaseg.proxy import box_mask, decode_rle
from mmboxcaseg.testing import shrink

CONFIG = 'baselines/mask_rcnn_r50_fpn_voc.py'
#: The logits of the mask head, the same everywhere: of cats object, of dogs ground.
LOGITS = dict(cat=5.0, dog=-5.0)


@pytest.fixture(scope='module')
def detector(data_root, tmp_path_factory):
    """Config and checkpoint of a tiny Mask R-CNN, whose masks are the boxes of the cats."""
    folder = tmp_path_factory.mktemp('detector')
    config = load_config(CONFIG)
    shrink(config, data_root, folder)
    model = build_model(config)
    classes = config.test_dataloader.dataset.metainfo.classes
    logits = model.roi_head.mask_head.conv_logits
    torch.nn.init.zeros_(logits.weight)
    for name, value in LOGITS.items():
        logits.bias.data[classes.index(name)] = value
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'detector.pth')
    config.dump(folder / 'detector.py')
    return folder / 'detector.py', folder / 'detector.pth'


@pytest.fixture
def call(run, data_root, detector, tmp_path):
    def call(*more, ann=data_root / 'coco/annotations/instances.json', config=detector[0]):
        out = tmp_path / 'raw.json'
        images = data_root / 'coco/train'
        paths = ('--ann', ann, '--images', images, '--out', out)
        return run(config, detector[1], *paths, *more), out

    return call


TOOL = Path(__file__).parents[2] / 'tools' / 'make_detector_masks.py'


def test_masks_are_those_of_the_boxes_and_classes(call, data_root):
    (code, out, _), raw = call()
    assert code == 0 and 'raw.json: 12 masks' in out
    coco = load_coco(data_root / 'coco/annotations/instances.json')
    names = {category.id: category.name for category in coco.categories}
    results = {result['ann_id']: result for result in json.loads(raw.read_text())}
    assert results.keys() == {annotation.id for annotation in coco.objects}
    for annotation in coco.objects:
        x, y, w, h = annotation.bbox
        expected = box_mask([x, y, x + w, y + h], (40, 48))
        expected &= names[annotation.category_id] == 'cat'
        mask = decode_rle(results[annotation.id]['segmentation'], (40, 48))
        assert (mask == expected).all(), annotation.id


def test_nothing_was_built_before(call, monkeypatch):
    """As in a fresh process: names are looked up in mmdet though no model has set the scope."""
    monkeypatch.setattr(DefaultScope, '_instance_dict', OrderedDict())
    (code, out, err), _ = call()
    assert code == 0 and 'raw.json: 12 masks' in out, err


def edited(data_root, tmp_path, **changes):
    coco = json.loads((data_root / 'coco/annotations/instances.json').read_text())
    (tmp_path / 'edited.json').write_text(json.dumps(coco | changes))
    return tmp_path / 'edited.json'


def test_categories_that_are_no_class(call, data_root, tmp_path):
    names = [dict(id=3, name='cat'), dict(id=7, name='lynx')]
    ann = edited(data_root, tmp_path, categories=names)
    (code, out, _), raw = call(ann=ann)
    assert code == 0 and 'raw.json: 8 masks' in out
    assert {result['category_id'] for result in json.loads(raw.read_text())} == {3}
    raw.unlink()
    names = [dict(id=3, name='puma'), dict(id=7, name='lynx')]
    (code, _, err), raw = call(ann=edited(data_root, tmp_path, categories=names))
    assert code == 2 and not raw.exists()
    assert "categories 'puma', 'lynx' of " in err and 'none of the classes of ' in err


def test_image_of_another_size(call, data_root, tmp_path):
    images = [dict(id=id_, file_name=f'{id_:03d}.png', width=48, height=41) for id_ in range(1, 5)]
    (code, _, err), raw = call(ann=edited(data_root, tmp_path, images=images))
    assert code == 2 and not raw.exists()
    assert '001.png is 48x40, but ' in err and 'says 48x41' in err


@pytest.mark.parametrize(
    'config', ['demo/boxcaseg_toy.py', 'proxy_segmenters/rtmdet-ins_s_coco.py']
)
def test_other_models(call, config, data_root, tmp_path):
    (code, _, err), _ = call(config=config)
    assert code == 2
    assert 'is of no Mask R-CNN: its model, ' in err
