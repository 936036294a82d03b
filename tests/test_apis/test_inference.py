import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate

from mmboxcaseg.apis import BoxCasegPredictor, View, init_model
from mmboxcaseg.apis.inference import _flipped
from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import DATASETS, MODELS

SIZE = 32


@pytest.fixture
def config(box_caseg_cfg, test_dataset_cfg):
    return Config(dict(model=box_caseg_cfg(), test_dataloader=dict(dataset=test_dataset_cfg)))


@pytest.fixture
def model(config):
    return init_model(config)


@pytest.fixture
def image(data_root):
    return cv2.imread(str(data_root / 'coco' / 'train' / '002.png'))


BBOXES = np.array([[2, 3, 22, 21], [4, 5, 24, 21], [26, 8, 40, 38]], dtype=np.float64)


def test_same_maps_as_the_test_pipeline(model, config, image):
    dataset = DATASETS.build(config.test_dataloader.dataset)
    batch = pseudo_collate([dataset[index] for index in (3, 4, 5)])
    assert {sample.img_id for sample in batch['data_samples']} == {2}
    with torch.no_grad():
        expected = [sample.pred_maps.fused[0].numpy() for sample in model.test_step(batch)]
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    maps = predictor.predict_maps(BBOXES)
    assert maps.shape == (3, SIZE, SIZE)
    assert maps.dtype == np.float32
    np.testing.assert_allclose(maps, expected, atol=1e-5)


def margin_of(config, margin):
    config.test_dataloader.dataset.pipeline[1]['margin'] = margin
    return config


def with_tta(config, *alternatives):
    """Give a config what --tta needs; by default two margins, and three flips of each."""
    alternatives = alternatives or (
        [box_patch(margin=0.1), box_patch(margin=0.4)],
        [
            dict(type='RandomFlip', prob=0.0),
            dict(type='RandomFlip', prob=1.0),
            dict(type='RandomFlip', prob=1.0, direction='vertical'),
        ],
    )
    pack = [dict(type='mmboxcaseg.PackPatchInputs')]
    config.tta_model = dict(type='mmboxcaseg.BoxCasegTTAModel')
    config.tta_pipeline = [
        dict(type='mmboxcaseg.LoadPatchImage'),
        dict(type='TestTimeAug', transforms=[*alternatives, pack]),
    ]
    return config


def box_patch(**settings):
    return dict(type='mmboxcaseg.BoxPatch', **{'size': SIZE, **settings})


def prompted(config):
    """The network of a config whose prompt matters, as after training."""
    config.model.prompt = True
    model = init_model(config)
    with torch.no_grad():
        model.backbone.conv1.weight[:, 3].normal_()
    return model


def pipeline_maps(model, pipeline, dataset_cfg):
    """What a test runs on the boxes of image 2."""
    dataset = DATASETS.build(dict(dataset_cfg, pipeline=pipeline))
    batch = pseudo_collate([dataset[index] for index in (3, 4, 5)])
    with torch.no_grad():
        return [sample.pred_maps.fused[0].numpy() for sample in model.test_step(batch)]


@pytest.mark.parametrize('margin', [0, 0.25])
def test_same_maps_as_the_test_pipeline_with_prompt_and_margin(config, image, margin):
    model = prompted(margin_of(config, margin))
    dataset = config.test_dataloader.dataset
    expected = pipeline_maps(model, dataset.pipeline, dataset)
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    np.testing.assert_allclose(predictor.predict_maps(BBOXES), expected, atol=1e-5)


def with_neighbours(config):
    """Give a config what a network with neighbours needs, and the network, its channel alive."""
    dataset = config.test_dataloader.dataset
    dataset.with_neighbours = True
    dataset.pipeline.insert(2, dict(type='mmboxcaseg.NeighbourChannel'))
    if 'tta_pipeline' in config:
        views = config.tta_pipeline[1].transforms
        views.insert(1, [dict(type='mmboxcaseg.NeighbourChannel')])
    config.model.update(prompt=True, neighbours=True)
    config.model.data_preprocessor.type = 'mmboxcaseg.PatchPreprocessor'
    model = init_model(config)
    with torch.no_grad():
        model.backbone.conv1.weight[:, 3:].normal_()
    return model


class TestNeighbours:
    def test_same_maps_as_the_test_pipeline(self, config, image):
        model = with_neighbours(margin_of(config, 0.25))
        dataset = config.test_dataloader.dataset
        expected = pipeline_maps(model, dataset.pipeline, dataset)
        predictor = BoxCasegPredictor(model)
        predictor.set_image(image)
        np.testing.assert_allclose(predictor.predict_maps(BBOXES), expected, atol=1e-5)

    def test_same_maps_as_the_tta_pipeline(self, config, image):
        model = with_neighbours(with_tta(config))
        predictor = BoxCasegPredictor(model, tta=True, batch_size=2)
        predictor.set_image(image)
        wrapped = MODELS.build(dict(**config.tta_model, module=model))
        expected = pipeline_maps(wrapped, config.tta_pipeline, config.test_dataloader.dataset)
        np.testing.assert_allclose(predictor.predict_maps(BBOXES), expected, atol=1e-5)

    def test_other_boxes_matter(self, config, image):
        predictor = BoxCasegPredictor(with_neighbours(config))
        predictor.set_image(image)
        together = predictor.predict_maps(BBOXES)
        alone = [predictor.predict_maps(bbox[None])[0] for bbox in BBOXES]
        # The first two overlap; the third lies apart from both.
        differences = [np.abs(a - b).max() for a, b in zip(together, alone, strict=True)]
        assert differences[0] > 1e-3 and differences[1] > 1e-3
        assert differences[2] < 1e-5

    def test_pipeline_without_the_channel_is_refused(self, config):
        model = with_neighbours(config)
        dataset = config.test_dataloader.dataset
        del dataset.pipeline[2]
        with pytest.raises(InputError, match='the patches have 3 channels: NeighbourChannel'):
            pipeline_maps(model, dataset.pipeline, dataset)


class TestAugmentation:
    def test_same_maps_as_the_tta_pipeline(self, config, image):
        model = prompted(with_tta(config))
        predictor = BoxCasegPredictor(model, tta=True, batch_size=2)
        assert predictor.views == tuple(
            View(margin, flip) for margin in (0.1, 0.4) for flip in (None, 'horizontal', 'vertical')
        )
        predictor.set_image(image)
        maps = predictor.predict_maps(BBOXES)
        wrapped = MODELS.build(dict(**config.tta_model, module=model))
        expected = pipeline_maps(wrapped, config.tta_pipeline, config.test_dataloader.dataset)
        np.testing.assert_allclose(maps, expected, atol=1e-5)
        plain = BoxCasegPredictor(model)
        plain.set_image(image)
        assert np.abs(maps - plain.predict_maps(BBOXES)).max() > 1e-3

    def test_a_flipped_image_gets_flipped_maps(self, config, image):
        # With both flips among the views nothing tells left from right any more.
        flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
        model = prompted(with_tta(config, [box_patch(margin=0.2)], flips))
        maps = []
        flipped = np.stack([48 - BBOXES[:, 2], BBOXES[:, 1], 48 - BBOXES[:, 0], BBOXES[:, 3]], 1)
        for one, bboxes in ((image, BBOXES), (image[:, ::-1], flipped)):
            predictor = BoxCasegPredictor(model, tta=True)
            predictor.set_image(one)
            maps.append(predictor.predict_maps(bboxes))
        np.testing.assert_allclose(maps[0], maps[1][..., ::-1], atol=1e-5)

    @pytest.mark.parametrize(
        ('flip', 'expected'),
        [
            ('horizontal', [5, 3, 7, 6]),
            ('vertical', [1, 2, 3, 5]),
            ('diagonal', [5, 2, 7, 5]),
        ],
    )
    def test_flipped_box(self, flip, expected):
        patch = np.zeros((1, 8, 8, 3), np.uint8)
        patch[:, 3:6, 1:3] = 1
        (patch,), (bbox,) = _flipped(patch, np.array([[1, 3, 3, 6]]), flip)
        x1, y1, x2, y2 = expected
        assert bbox.tolist() == expected
        assert patch[y1:y2, x1:x2].all() and patch.sum() == 3 * 6

    def test_one_margin_before_the_views(self, config):
        flips = [dict(type='RandomFlip', prob=1.0), dict(type='RandomFlip', prob=0)]
        with_tta(config, flips)
        config.tta_pipeline.insert(1, box_patch(size=(24, 40), margin=0.3))
        predictor = BoxCasegPredictor(init_model(config), tta=True)
        assert predictor.size == (24, 40)
        assert predictor.views == (View(0.3, 'horizontal'), View(0.3))

    @pytest.mark.parametrize(
        ('alternatives', 'sentence'),
        [
            ([[dict(type='RandomFlip', prob=0)]], 'every view of tta_pipeline must crop its box'),
            ([[box_patch(), box_patch(size=48)]], r"of one size, not \['32', '48'\]"),
            ([[box_patch()], [dict(type='RandomFlip', prob=0.5)]], 'must have prob 0 or 1'),
            (
                [[box_patch()], [dict(type='RandomFlip', prob=1, direction=['vertical'])]],
                'one direction',
            ),
            ([[box_patch()], [dict(type='mmdet.Resize')]], 'tta_pipeline has mmdet.Resize'),
        ],
    )
    def test_views_that_are_not_known(self, config, alternatives, sentence):
        model = init_model(with_tta(config, *alternatives))
        with pytest.raises(InputError, match=sentence):
            BoxCasegPredictor(model, tta=True)

    def test_config_without_one(self, model):
        with pytest.raises(InputError, match='needs a tta_pipeline in the config'):
            BoxCasegPredictor(model, tta=True)


def test_mask_is_where_the_object_is_whatever_the_margin(config, monkeypatch):
    # The network is taken away: the map is the brightness of what it was shown.
    config.model.update(weak_head=None, transferred_head=None)
    y, x = np.mgrid[:40, :48]
    disk = (x - 20) ** 2 / 90 + (y - 18) ** 2 / 50
    image = (255 * np.exp(-disk))[..., None].repeat(3, axis=2).astype(np.uint8)
    masks = []
    for margin in (0, 0.15, 1):
        model = init_model(margin_of(config, margin))
        monkeypatch.setattr(model, 'extract_feat', lambda inputs, bboxes: inputs[:, :1])
        model.salient_head = torch.nn.Identity()
        predictor = BoxCasegPredictor(model, size=64)
        predictor.set_image(image)
        masks.append(predictor.predict(np.array([[8, 9, 33, 28]]))[0])
    assert 100 < masks[0].sum() < 300
    for mask in masks[1:]:
        assert (mask ^ masks[0]).sum() <= 8


def test_half_precision(model, image):
    maps = []
    for amp in (False, True):
        predictor = BoxCasegPredictor(model, amp=amp)
        predictor.set_image(image)
        maps.append(predictor.predict_maps(BBOXES))
    assert maps[1].dtype == np.float32
    assert 0 < np.abs(maps[0] - maps[1]).max() < 0.02


def test_batches_do_not_change_the_maps(model, image):
    maps = []
    for batch_size in (1, 2, 32):
        predictor = BoxCasegPredictor(model, batch_size=batch_size)
        predictor.set_image(image)
        maps.append(predictor.predict_maps(BBOXES))
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)
    np.testing.assert_allclose(maps[0], maps[2], atol=1e-5)


def test_masks_lie_in_their_boxes(model, image):
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    masks = predictor.predict(BBOXES)
    assert masks.shape == (3, 40, 48)
    assert masks.dtype == bool
    for mask, (x1, y1, x2, y2) in zip(masks, BBOXES.astype(int), strict=True):
        assert mask.any()
        mask[y1:y2, x1:x2] = False
        assert not mask.any()


def test_masks_are_the_pasted_maps(model, image, monkeypatch):
    predictor = BoxCasegPredictor(model, threshold=0.6)
    predictor.set_image(image)
    ramp = np.tile(np.linspace(0.2, 0.7, 20, dtype=np.float32), (18, 1))
    monkeypatch.setattr(predictor, 'predict_maps', lambda bboxes: ramp[None])
    mask = predictor.predict(BBOXES[0])[0]
    # Normalised the ramp is i / 19: columns 12 to 19 of the box lie above 0.6.
    assert np.array_equal(np.flatnonzero(mask.any(axis=0)), 2 + np.arange(12, 20))
    assert np.array_equal(np.flatnonzero(mask.any(axis=1)), 3 + np.arange(18))


def test_threshold_is_that_of_the_config(config, image, monkeypatch):
    config.model.test_cfg = dict(threshold='best')
    predictor = BoxCasegPredictor(init_model(config))
    predictor.set_image(image)
    # IoUs to expect without and with the third column: 1.2 / 2.33 and 1.53 / 3, then 1.8 / 2.44 and
    # 2.24 / 3. A threshold of 0.5 takes it in the first map and leaves it out of the second.
    for row, columns in (([0.6, 0.6, 0.33, 0], 2), ([0.9, 0.9, 0.44, 0], 3)):
        prob = np.tile(np.float32(row), (4, 1))
        monkeypatch.setattr(predictor, 'predict_maps', lambda bboxes, prob=prob: prob[None])
        assert predictor.predict(np.array([0.0, 0, 4, 4]))[0].any(axis=0).sum() == columns


def test_images_one_after_the_other(model, image):
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    first = predictor.predict_maps(BBOXES)
    predictor.set_image(image[:, ::-1])
    assert not np.allclose(predictor.predict_maps(BBOXES), first, atol=1e-3)
    predictor.set_image(image)
    assert np.array_equal(predictor.predict_maps(BBOXES), first)


def test_patches_of_several_images_in_one_batch(model, image):
    predictor = BoxCasegPredictor(model)
    images = [image, image[:, ::-1].copy()]
    crops = [predictor.crop_patches(one, BBOXES) for one in images]
    together = predictor.predict_patches(*map(np.concatenate, zip(*crops, strict=True)))
    for one, maps in zip(images, np.split(together, 2), strict=True):
        predictor.set_image(one)
        np.testing.assert_allclose(predictor.predict_maps(BBOXES), maps, atol=1e-5)


def test_no_boxes(model, image):
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    assert predictor.predict_maps(np.zeros((0, 4))).shape == (0, SIZE, SIZE)
    assert predictor.predict([]).shape == (0, 40, 48)


def test_weak_only_network_gives_its_weak_map(config, image):
    config.model.update(salient_head=None, transferred_head=None)
    predictor = BoxCasegPredictor(init_model(config))
    predictor.set_image(image)
    assert predictor.predict_maps(BBOXES).shape == (3, SIZE, SIZE)


@pytest.mark.parametrize(
    ('bad', 'sentence'),
    [
        (None, 'not a NoneType: cv2.imread gives None'),
        (np.zeros((4, 4), np.uint8), r'must be \(H, W, 3\) uint8, not \(4, 4\)'),
        (np.zeros((4, 4, 3), np.float32), 'float32'),
        (np.zeros((4, 4, 4), np.uint8), r'\(4, 4, 4\)'),
    ],
)
def test_bad_images(model, bad, sentence):
    with pytest.raises(InputError, match=sentence):
        BoxCasegPredictor(model).set_image(bad)


@pytest.mark.parametrize(
    ('bboxes', 'sentence'),
    [
        (np.zeros((4, 5)), r'must be \(N, 4\) xyxy, not \(4, 5\)'),
        ('abcd', 'must be numbers'),
        ([[1, 2, 3, 4], [1, 2, np.nan, 4]], r'box 1, .*nan.* is not finite'),
        ([[1, 2, 3, 4], [1, 2, np.inf, 4]], 'box 1, .* is not finite'),
        ([[5, 2, 3, 4]], r'box 0, \[5\.0, 2\.0, 3\.0, 4\.0\], is empty'),
        ([[1, 2, 3, 2]], 'box 0, .* is empty'),
        ([[48, 2, 50, 4]], r'box 0, .* outside the image \(48x40\)'),
        ([[1, -4, 3, 0]], 'box 0, .* outside the image'),
    ],
)
@pytest.mark.parametrize('method', ['predict', 'predict_maps'])
def test_bad_boxes(model, image, bboxes, sentence, method):
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    with pytest.raises(InputError, match=sentence):
        getattr(predictor, method)(bboxes)


def test_one_box_may_stand_alone(model, image):
    predictor = BoxCasegPredictor(model, size=16)
    predictor.set_image(image)
    assert predictor.predict([47.5, 2, 60, 9]).shape == (1, 40, 48)
    assert predictor.predict_maps([47.5, 2, 60, 9]).shape == (1, 16, 16)


@pytest.mark.parametrize(
    'setting', [dict(batch_size=0), dict(threshold=2), dict(threshold=np.nan), dict(size=0)]
)
def test_bad_settings(model, setting):
    with pytest.raises(InputError, match=f'{next(iter(setting))} must be'):
        BoxCasegPredictor(model, **setting)


def test_boxes_before_an_image(model):
    with pytest.raises(InputError, match='call set_image'):
        BoxCasegPredictor(model).predict(BBOXES)


class TestInitModel:
    def test_config_that_is_none(self, config):
        with pytest.raises(InputError, match='loaded Config, not a dict'):
            init_model(dict(model=dict(config.model)))

    def test_setting_that_is_none(self, config):
        config.model.alhpa = 0.5
        with pytest.raises(InputError, match='cannot be built: TypeError: .*alhpa'):
            init_model(config)

    def test_loads_the_checkpoint(self, config, tmp_path):
        source = MODELS.build(config.model)
        torch.save(dict(state_dict=source.state_dict()), tmp_path / 'epoch_1.pth')
        model = init_model(config, tmp_path / 'epoch_1.pth')
        assert not model.training
        assert model.cfg is config
        for key, value in model.state_dict().items():
            assert torch.equal(value, source.state_dict()[key]), key

    def test_config_file(self, config, tmp_path):
        config.dump(tmp_path / 'config.py')
        predictor = BoxCasegPredictor(init_model(tmp_path / 'config.py'))
        assert predictor.size == (SIZE, SIZE)

    def test_sync_bn_is_reverted(self, config):
        config.model.weak_head.norm_cfg = dict(type='SyncBN')
        model = init_model(config)
        assert type(model.weak_head.norm).__name__ != 'SyncBatchNorm'

    def test_patch_size(self, config, model):
        assert BoxCasegPredictor(model).size == (SIZE, SIZE)
        assert BoxCasegPredictor(model, size=(16, 24)).size == (16, 24)
        config.test_dataloader.dataset.pipeline[1]['size'] = (24, 40)
        assert BoxCasegPredictor(init_model(config)).size == (24, 40)
        config.pop('test_dataloader')
        assert BoxCasegPredictor(init_model(config)).size == (320, 320)

    def test_errors(self, config, tmp_path, box_caseg_cfg):
        with pytest.raises(InputError, match='nowhere.py'):
            init_model('nowhere.py')
        with pytest.raises(InputError, match='no checkpoint file .*nowhere.pth'):
            init_model(config, 'nowhere.pth')
        other = MODELS.build(box_caseg_cfg(transferred_head=None))
        torch.save(dict(state_dict=other.state_dict()), tmp_path / 'other.pth')
        with pytest.raises(InputError, match='another architecture'):
            init_model(config, tmp_path / 'other.pth')
        config.model.type = 'MaskRCNN'
        config.dump(tmp_path / 'mask_rcnn.py')
        with pytest.raises(InputError, match=r'mask_rcnn\.py is not the config of a BoxCaseg'):
            init_model(tmp_path / 'mask_rcnn.py')
