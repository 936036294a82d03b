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
BOXES_ALONE = 'baselines/faster_rcnn_r101_fpn_voc.py'
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
    def call(
        *more,
        ann=data_root / 'coco/annotations/instances.json',
        config=detector[0],
        checkpoint=detector[1],
    ):
        out = tmp_path / 'raw.json'
        images = data_root / 'coco/train'
        paths = ('--ann', ann, '--images', images, '--out', out)
        return run(config, checkpoint, *paths, *more), out

    return call


TOOL = Path(__file__).parents[2] / 'tools' / 'make_detector_masks.py'


def masks_and_boxes(raw, data_root):
    """Id, mask and filled box of each object; a box of a class that is not found is empty."""
    coco = load_coco(data_root / 'coco/annotations/instances.json')
    names = {category.id: category.name for category in coco.categories}
    results = {result['ann_id']: result for result in json.loads(raw.read_text())}
    assert results.keys() == {annotation.id for annotation in coco.objects}
    for annotation in coco.objects:
        x, y, w, h = annotation.bbox
        box = box_mask([x, y, x + w, y + h], (40, 48)) & (names[annotation.category_id] == 'cat')
        yield annotation.id, decode_rle(results[annotation.id]['segmentation'], (40, 48)), box


def test_masks_are_those_of_the_boxes_and_classes(call, data_root):
    (code, out, _), raw = call()
    assert code == 0 and 'raw.json: 12 masks' in out
    for id_, mask, expected in masks_and_boxes(raw, data_root):
        assert (mask == expected).all(), id_


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
    ('config', 'source', 'kind'),
    [
        ('demo/boxcaseg_toy.py', 'mask-head', 'Mask R-CNN'),
        ('proxy_segmenters/rtmdet-ins_s_coco.py', 'mask-head', 'Mask R-CNN'),
        (BOXES_ALONE, 'mask-head', 'Mask R-CNN'),
        ('proxy_segmenters/rtmdet-ins_s_coco.py', 'bbam', 'two-stage detector'),
    ],
)
def test_other_models(call, config, source, kind):
    (code, _, err), _ = call('--source', source, config=config)
    assert code == 2
    assert f'is of no {kind}: its model, ' in err


@pytest.fixture(scope='module')
def boxes_alone(data_root, tmp_path_factory):
    """Config and checkpoint of a tiny Faster R-CNN that takes any proposal for a cat's box."""
    folder = tmp_path_factory.mktemp('boxes_alone')
    config = load_config(BOXES_ALONE)
    shrink(config, data_root, folder)
    model = build_model(config)
    head = model.roi_head.bbox_head
    for layer in (head.fc_cls, head.fc_reg):
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    head.fc_cls.bias.data[config.test_dataloader.dataset.metainfo.classes.index('cat')] = 5
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'detector.pth')
    config.dump(folder / 'detector.py')
    return dict(config=folder / 'detector.py', checkpoint=folder / 'detector.pth')


def test_masks_by_attribution(call, boxes_alone, data_root):
    # Nothing of the image is needed: two steps take as much from each cell, and leave the box.
    settings = dict(iterations=2, samples=50, proposals=3)
    options = [f'model.test_cfg.bbam.{key}={value}' for key, value in settings.items()]
    (code, out, err), raw = call('--source', 'bbam', '--cfg-options', *options, **boxes_alone)
    assert code == 0 and 'raw.json: 12 masks' in out and '12/12' in err
    for id_, mask, box in masks_and_boxes(raw, data_root):
        assert not (mask & ~box).any() and mask.sum() >= 0.8 * box.sum(), id_


@pytest.mark.parametrize(
    ('setting', 'message'),
    [('steps=3', "unexpected keyword argument 'steps'"), ('threshold=2', 'threshold must be in')],
)
def test_wrong_settings_of_attribution(call, boxes_alone, setting, message):
    options = ('--cfg-options', f'model.test_cfg.bbam.{setting}')
    (code, _, err), raw = call('--source', 'bbam', *options, **boxes_alone)
    assert code == 2 and message in err and not raw.exists()
