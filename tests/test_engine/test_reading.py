import pytest
from mmengine.config import Config

from mmboxcaseg.engine.config import dicts, load_config
from mmboxcaseg.engine.reading import backend_args, reading_of, set_reading
from mmboxcaseg.images import DEFAULT_READER, ImageReader

OTHER = ImageReader(exif=True, max_pixels=99, bands=(3, 2, 1))
MASK_RCNNS = [
    'proxy_mask_rcnn/r101_fpn_coco.py',
    'proxy_mask_rcnn/r101_fpn_voc.py',
    'proxy_mask_rcnn/r101_fpn_coco-mini.py',
    'baselines/bbtp_r101_fpn_coco.py',
    'baselines/boxinst_r101_fpn_voc.py',
    'baselines/mask_rcnn_r50_fpn_voc.py',
    'demo/mask_rcnn_toy_supervised.py',
]


@pytest.mark.parametrize('name', [*MASK_RCNNS, 'boxcaseg/hrnet_w48_voc.py'])
def test_all_loaders_of_a_config_read_by_one_rule(name):
    config = load_config(name)
    loaders = [part for part in dicts(config._cfg_dict) if 'Load' in str(part.get('type'))]
    parts = ('train_dataloader', 'val_dataloader', 'test_dataloader')
    loads = [d for p in parts for d in dicts(config[p]) if 'Image' in str(d.get('type'))]
    assert len(loads) >= 3 and len(loaders) >= 3
    for load in loads:
        own = load['type'] == 'mmboxcaseg.LoadPatchImage'
        assert own or load['backend_args']['backend'] == 'mmboxcaseg', load
    assert reading_of(config) == DEFAULT_READER
    set_reading(config, OTHER)
    for load in loads:
        assert reading_of(load) == OTHER


def test_what_is_set_comes_back_from_a_file(tmp_path):
    config = load_config('boxcaseg/hrnet_w48_voc.py')
    set_reading(config, OTHER)
    config.dump(str(tmp_path / 'a.py'))
    assert reading_of(load_config(tmp_path / 'a.py')) == OTHER
    assert backend_args(config) is None


def test_pictures_of_mmdet_are_read_as_its_images():
    config = load_config('demo/proxy_mask_rcnn_toy.py')
    set_reading(config, OTHER)
    assert (
        ImageReader.of(**{k: v for k, v in backend_args(config).items() if k != 'backend'}) == OTHER
    )


def test_a_config_without_images():
    assert reading_of(Config(dict(model=dict(type='A')))) == DEFAULT_READER
    assert reading_of(None) == DEFAULT_READER
