import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import BaseTransform
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmengine.structures import PixelData

from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.apis.mask_stream import MaskStream
from mmboxcaseg.datasets.transforms import MoveBox
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import (
    BoxMask,
    exclusive_maps,
    expected_iou,
    mask_of,
    merge_masks,
    tight_bboxes,
)
from mmboxcaseg.registry import DATASETS, MODELS, TRANSFORMS

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


def predict_maps(predictor, image, bboxes=BBOXES):
    samples = predictor.predict_packed(list(predictor.pack(image, bboxes)))
    return np.array([sample.pred_maps.get(predictor.output_map)[0].numpy() for sample in samples])


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


VIEWS = (
    [dict(type='mmboxcaseg.BoxPatch', size=SIZE, margin=margin) for margin in (0.3, 0.5)],
    [dict(type='RandomFlip', prob=prob) for prob in (0.0, 1.0)],
)


def box_patch(**settings):
    return dict(type='mmboxcaseg.BoxPatch', **{'size': SIZE, **settings})


def prompted(config):
    """The network of a config whose prompts matter, as after training."""
    config.model.prompt = dict(type='mmboxcaseg.BoxPrompt', own=True, others=True)
    model = init_model(config)
    with torch.no_grad():
        model.backbone.conv1.weight[:, 3:].normal_()
    return model


def maps_of_a_test(model, config, tta):
    """What tools/test.py runs on the boxes of image 2."""
    dataset = config.test_dataloader.dataset
    if tta:
        model = MODELS.build(dict(config.tta_model, module=model))
        dataset = dict(dataset, pipeline=config.tta_pipeline)
    dataset = DATASETS.build(dataset)
    batch = pseudo_collate([dataset[index] for index in (3, 4, 5)])
    with torch.no_grad():
        return [sample.pred_maps.fused[0].numpy() for sample in model.test_step(batch)]


@pytest.mark.parametrize('tta', [False, True])
def test_same_maps_as_a_test(config, image, tta):
    model = prompted(with_tta(margin_of(config, 0.25)))
    maps = predict_maps(BoxCasegPredictor(model, tta=tta), image)
    assert maps.shape == (3, SIZE, SIZE)
    np.testing.assert_allclose(maps, maps_of_a_test(model, config, tta), atol=1e-5)
    assert np.abs(maps - predict_maps(BoxCasegPredictor(model, tta=not tta), image)).max() > 1e-3


def test_network_of_the_user_stays_as_it_is_and_trains(config, image, make_batch):
    model = init_model(config).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    predictor = BoxCasegPredictor(model)
    maps = predict_maps(predictor, image)
    assert model.training and model.state_dict().keys() == before.keys()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    loss, _ = model.parse_losses(model(*make_batch(('box', 'mask'), size=64), mode='loss'))
    loss.backward()
    assert all(p.grad is not None for p in model.backbone.parameters())
    # What is learnt later is not the predictor's.
    with torch.no_grad():
        model.salient_head.conv2.bias += 1
    assert np.array_equal(predict_maps(predictor, image), maps)


def test_other_boxes_matter(config, image):
    predictor = BoxCasegPredictor(prompted(config))
    together = predict_maps(predictor, image)
    alone = [predict_maps(predictor, image, bbox[None])[0] for bbox in BBOXES]
    # The first two overlap; the third lies apart from both.
    differences = [np.abs(a - b).max() for a, b in zip(together, alone, strict=True)]
    assert differences[0] > 1e-3 and differences[1] > 1e-3
    assert differences[2] < 1e-5


def test_other_boxes_end_where_the_image_does(config, image):
    predictor = BoxCasegPredictor(prompted(config))
    reaching_out = BBOXES.copy()
    reaching_out[1] = [4, 5, 90, 70]
    clipped = reaching_out.copy()
    clipped[1] = [4, 5, 48, 40]
    assert np.array_equal(
        predict_maps(predictor, image, reaching_out)[0], predict_maps(predictor, image, clipped)[0]
    )


@pytest.mark.parametrize('tta', [False, True])
def test_any_transform_of_the_user_acts(config, image, tta, monkeypatch):
    class Darken(BaseTransform):
        def transform(self, results):
            return dict(results, img=results['img'] // 2)

    monkeypatch.setitem(TRANSFORMS._module_dict, 'Darken', Darken)
    model = init_model(with_tta(config))
    predictor = BoxCasegPredictor(model, tta=tta)
    pipeline = config.tta_pipeline if tta else config.test_dataloader.dataset.pipeline
    pipeline.insert(1, dict(type='mmboxcaseg.Darken'))
    maps = predict_maps(BoxCasegPredictor(model, tta=tta), image)
    assert np.array_equal(maps, predict_maps(predictor, image // 2))
    assert not np.array_equal(maps, predict_maps(predictor, image))


def test_moved_box_has_its_mask_where_it_was_moved(config, image):
    config.test_dataloader.dataset.pipeline.insert(1, dict(type='mmboxcaseg.MoveBox', scale=0.5))
    model = init_model(config)
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    (mask,), _ = predictor.predict(BBOXES[:1])
    moved = MoveBox(scale=0.5)(dict(bbox=BBOXES[0], img_shape=image.shape[:2]))['bbox']
    config.test_dataloader.dataset.pipeline.pop(1)
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    assert np.array_equal(mask, predictor.predict(moved)[0][0])


def test_wrapped_dataset(config, image):
    model = init_model(margin_of(config, 0.3))
    before = predict_maps(BoxCasegPredictor(model), image)
    dataset = config.test_dataloader.dataset
    config.test_dataloader.dataset = dict(type='RepeatDataset', times=1, dataset=dataset)
    assert np.array_equal(predict_maps(BoxCasegPredictor(model), image), before)


def test_one_map_is_predicted_and_the_model_keeps_its_choice(config, image):
    config.model.test_cfg = dict(maps=['weak', 'fused'], threshold=0.4)
    model = init_model(config)
    predictor = BoxCasegPredictor(model, threshold='best')
    (sample,) = predictor.predict_packed(list(predictor.pack(image, BBOXES[:1])))
    assert sample.pred_maps.keys() == ['fused']
    assert sample.threshold == 'best'
    assert model.maps == ('weak', 'fused')
    assert model.threshold == 0.4
    (sample,) = BoxCasegPredictor(model).predict_packed(list(predictor.pack(image, BBOXES[:1])))
    assert sample.threshold == 0.4


class TestPipelines:
    @pytest.mark.parametrize('tta', [False, True])
    def test_config_without_one(self, config, tta):
        config.test_dataloader = None
        sentence = 'the config has no tta_model' if tta else 'does not say how a box is cropped'
        with pytest.raises(InputError, match=sentence):
            BoxCasegPredictor(init_model(config), tta=tta)

    def test_model_without_a_config(self, config):
        with pytest.raises(InputError, match='the model has no config .*: use init_model'):
            BoxCasegPredictor(MODELS.build(config.model))

    def test_setting_that_is_none(self, config):
        config.test_dataloader.dataset.pipeline[1].margim = 1
        with pytest.raises(InputError, match='cannot be built: TypeError: .*margim'):
            BoxCasegPredictor(init_model(config))

    def test_one_that_does_not_pack(self, config, image):
        config.test_dataloader.dataset.pipeline.pop()
        predictor = BoxCasegPredictor(init_model(config))
        with pytest.raises(InputError, match='must end with mmboxcaseg.PackPatchInputs'):
            list(predictor.pack(image, BBOXES))

    def test_one_that_loads_files(self, config, image):
        config.test_dataloader.dataset.pipeline[0] = dict(type='LoadImageFromFile')
        predictor = BoxCasegPredictor(init_model(config))
        with pytest.raises(InputError, match="asks for 'img_path', .* mmboxcaseg.LoadPatchImage"):
            list(predictor.pack(image, BBOXES))

    def test_one_that_needs_a_mask(self, config, image):
        config.test_dataloader.dataset.pipeline.insert(1, dict(type='mmboxcaseg.BoxFromMask'))
        predictor = BoxCasegPredictor(init_model(config))
        with pytest.raises(InputError, match='BoxFromMask needs samples with a mask'):
            list(predictor.pack(image, BBOXES))


def test_a_flipped_image_gets_flipped_maps(config, image):
    # With both flips among the views nothing tells left from right any more.
    flips = [dict(type='RandomFlip', prob=0.0), dict(type='RandomFlip', prob=1.0)]
    predictor = BoxCasegPredictor(
        prompted(with_tta(config, [box_patch(margin=0.2)], flips)), tta=True
    )
    flipped = np.stack([48 - BBOXES[:, 2], BBOXES[:, 1], 48 - BBOXES[:, 0], BBOXES[:, 3]], 1)
    maps = predict_maps(predictor, image), predict_maps(predictor, image[:, ::-1], flipped)
    np.testing.assert_allclose(maps[0], maps[1][..., ::-1], atol=1e-5)


def test_mask_is_where_the_object_is_whatever_the_margin(config, monkeypatch):
    # The network is taken away: the map is the brightness of what it was shown.
    config.model.update(weak_head=None, transferred_head=None)
    y, x = np.mgrid[:40, :48]
    disk = (x - 20) ** 2 / 90 + (y - 18) ** 2 / 50
    image = (255 * np.exp(-disk))[..., None].repeat(3, axis=2).astype(np.uint8)
    masks = []
    for margin in (0, 0.15, 1):
        config.test_dataloader.dataset.pipeline[1] = box_patch(size=64, margin=margin)
        model = init_model(config)
        monkeypatch.setattr(model, 'extract_feat', lambda inputs, *boxes: inputs[:, :1])
        model.salient_head = torch.nn.Identity()
        predictor = BoxCasegPredictor(model)
        predictor.set_image(image)
        masks.append(predictor.predict(np.array([[8, 9, 33, 28]]))[0][0])
    assert 100 < masks[0].sum() < 300
    for mask in masks[1:]:
        assert (mask ^ masks[0]).sum() <= 8


def see_through(monkeypatch, config):
    """Take the network away: the map is the brightness of what it was shown, in a prompt's box."""
    config.model.update(weak_head=None, transferred_head=None)
    config.model.data_preprocessor = dict(
        type='mmengine.ImgDataPreprocessor', mean=[0, 0, 0], std=[255, 255, 255]
    )
    model = init_model(config)
    monkeypatch.setattr(model, 'extract_feat', lambda inputs, *boxes: inputs[:, :1])
    model.salient_head = torch.nn.Identity()
    return model


def window_by_hand(bbox, slack, width, height):
    x1, y1, x2, y2 = (int(edge) for edge in bbox)
    grow_x, grow_y = int(slack * (x2 - x1) + 0.5), int(slack * (y2 - y1) + 0.5)
    return np.s_[
        max(y1 - grow_y, 0) : min(y2 + grow_y, height),
        max(x1 - grow_x, 0) : min(x2 + grow_x, width),
    ]


FLIPS = [
    dict(type='RandomFlip', prob=float(direction is not None), direction=direction or 'horizontal')
    for direction in (None, 'horizontal', 'vertical', 'diagonal')
]


@pytest.mark.parametrize('flips', [None, *[[flip] for flip in FLIPS], FLIPS])
def test_slack_gives_all_of_the_object_in_the_grown_box(config, monkeypatch, flips):
    """Of any box, also at the image's border, where the patch shows what is not there."""
    rng = np.random.default_rng(0)
    cut = 0
    for _ in range(16):
        width, height = rng.integers(24, 60, 2).tolist()
        image, true = np.zeros((height, width, 3), np.uint8), np.zeros((height, width), bool)
        for _ in range(2):
            x, y = rng.integers(-8, width - 4), rng.integers(-8, height - 4)
            sides = rng.integers(6, 24, 2)
            true[max(y, 0) : y + sides[1], max(x, 0) : x + sides[0]] = True
        image[true] = 255
        corner = rng.integers(0, [width - 11, height - 11])
        bbox = np.append(corner, np.minimum(corner + rng.integers(11, 25, 2), [width, height]))
        slack = float(rng.choice([0, 0.1, 0.2, 0.35]))
        margin = slack + float(rng.choice([0, 0.1, 0.3]))
        window = window_by_hand(bbox, slack, width, height)
        if true[window].all() or not true[window].any():
            continue  # the map is normalised: nothing is told from nothing
        # A patch of as many pixels as there are: nothing is lost by scaling.
        sides = bbox[2:] - bbox[:2]
        size = (sides + 2 * np.floor(margin * sides + 0.5).astype(int))[::-1].tolist()
        crop = box_patch(size=size, margin=margin)
        if flips:
            with_tta(config, [crop], flips)
        else:
            config.test_dataloader.dataset.pipeline[1] = crop
        predictor = BoxCasegPredictor(
            see_through(monkeypatch, config), tta=bool(flips), slack=slack
        )
        predictor.set_image(image)
        (mask,), _ = predictor.predict(bbox)
        expected = np.zeros_like(true)
        expected[window] = true[window]
        assert np.array_equal(mask, expected)
        cut += slack > 0 and 0 in (window[0].start, window[1].start)
    assert cut > 2


@pytest.mark.parametrize('sizes', [(128, 128, 128), (96, 128, 160), (160, 128, 96)])
def test_views_of_several_margins_and_sizes_lie_on_each_other(config, image, monkeypatch, sizes):
    y, x = np.mgrid[:40, :48]
    image = np.uint8(255 * ((x - 20) ** 2 / 90 + (y - 12) ** 2 / 50 < 1.5))[..., None].repeat(3, 2)
    margins = 0.2, 0.4, 1
    views = [box_patch(size=s, margin=m) for s, m in zip(sizes, margins, strict=True)]
    model = see_through(monkeypatch, with_tta(config, views, FLIPS))
    predictor = BoxCasegPredictor(model, tta=True, slack=0.2)
    predictor.set_image(image)
    bbox = np.array([14, 1, 34, 21])  # cuts the disk on the left, and grown it leaves the image
    (mask,), _ = predictor.predict(bbox)
    expected = np.zeros(image.shape[:2], bool)
    window = window_by_hand(bbox, 0.2, 48, 40)
    expected[window] = image[window][..., 0] > 0
    assert window == np.s_[0:25, 10:38]
    # A pixel of the outline here and there, which the views' patches blur.
    assert (mask ^ expected).sum() <= 1
    (sample,) = predictor.predict_packed(list(predictor.pack(image, bbox[None])))
    assert sample.pred_maps.fused.shape[-2:] == (max(sizes),) * 2
    assert mask[:, 10:14].any() and not mask[:, :10].any()


class TestSlack:
    @pytest.mark.parametrize('tta', [False, True])
    def test_is_that_of_the_config_unless_it_is_given(self, config, image, tta):
        config.model.test_cfg = dict(slack=0.2)
        with_tta(margin_of(config, 0.3), [box_patch(margin=0.3)], FLIPS)
        model = init_model(config)
        masks = []
        for settings in (dict(), dict(slack=0.2), dict(slack=0.0), dict(slack=0.3)):
            predictor = BoxCasegPredictor(model, tta=tta, **settings)
            predictor.set_image(image)
            masks.append(predictor.predict(BBOXES)[0])
            (sample, *_) = predictor.predict_packed(list(predictor.pack(image, BBOXES)))
            assert sample.slack == predictor.slack == settings.get('slack', 0.2)
        assert np.array_equal(masks[0], masks[1])
        assert model.slack == 0.2
        for box, plain, slack in zip(BBOXES.astype(int), masks[2], masks[0], strict=True):
            assert not plain.any() or tight_bboxes(plain[None])[0, 0] >= box[0]
            window = window_by_hand(box, 0.2, 48, 40)
            assert slack[window].sum() == slack.sum()
        assert any((slack & ~masks[2].any(0)).any() for slack in masks[3])

    def test_none_is_what_there_was(self, config, image):
        model = prompted(with_tta(margin_of(config, 0.25)))
        for tta in (False, True):
            maps = [
                predict_maps(BoxCasegPredictor(model, tta=tta, **settings), image)
                for settings in (dict(), dict(slack=0.0), dict(slack=1e-9))
            ]
            assert np.array_equal(maps[0], maps[1])
            # Boxes of no slack to speak of are looked for in another way, to the same end.
            np.testing.assert_allclose(maps[0], maps[2], atol=1e-5)

    @pytest.mark.parametrize('tta', [False, True])
    def test_more_than_a_view_shows(self, config, tta):
        with_tta(margin_of(config, 0.1), [box_patch(margin=0.3), box_patch(margin=0.1)], FLIPS)
        with pytest.raises(
            InputError, match=r'a slack of 0\.2, .* has a margin of 0\.1: give each'
        ):
            BoxCasegPredictor(init_model(config), tta=tta, slack=0.2)
        BoxCasegPredictor(init_model(config), tta=tta, slack=0.1)
        config.model.test_cfg = dict(slack=0.2)
        with pytest.raises(InputError, match=r'a slack of 0\.2'):
            BoxCasegPredictor(init_model(config), tta=tta)

    def test_no_margin_at_all(self, config):
        with pytest.raises(InputError, match='has a margin of 0: give'):
            BoxCasegPredictor(init_model(config), slack=0.01)


def test_half_precision(model, image):
    maps = []
    for amp in (False, True):
        maps.append(predict_maps(BoxCasegPredictor(model, amp=amp), image))
    assert maps[1].dtype == np.float32
    assert 0 < np.abs(maps[0] - maps[1]).max() < 0.02


def test_batches_do_not_change_the_maps(model, image):
    sizes = []
    model.backbone.register_forward_hook(lambda m, args, out: sizes.append(len(args[0])))
    maps = [predict_maps(BoxCasegPredictor(model, batch_size=size), image) for size in (1, 2, 32)]
    assert sizes == [1, 1, 1, 2, 1, 3]
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-5)
    np.testing.assert_allclose(maps[0], maps[2], atol=1e-5)


def test_masks_lie_in_their_boxes(model, image):
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    masks, quality = predictor.predict(BBOXES)
    assert masks.shape == (3, 40, 48)
    assert masks.dtype == bool
    assert quality.shape == (3,)
    assert ((quality > 0) & (quality < 1)).all()
    for mask, (x1, y1, x2, y2) in zip(masks, BBOXES.astype(int), strict=True):
        assert mask.any()
        mask[y1:y2, x1:x2] = False
        assert not mask.any()


def let_predict(monkeypatch, predictor, prob):
    """Put a map in the place of the network."""

    def predict_packed(packed):
        samples = [one['data_samples'] for one in packed]
        for sample in samples:
            sample.pred_maps = PixelData(fused=torch.tensor(prob, dtype=torch.float32)[None])
            sample.set_metainfo(dict(threshold=predictor.model.threshold))
        return samples

    monkeypatch.setattr(predictor, 'predict_packed', predict_packed)


def test_masks_are_the_pasted_maps(model, image, monkeypatch):
    predictor = BoxCasegPredictor(model, threshold=0.6)
    predictor.set_image(image)
    ramp = np.tile(np.linspace(0.2, 0.7, 20), (18, 1))
    let_predict(monkeypatch, predictor, ramp)
    (mask,), (quality,) = predictor.predict(BBOXES[0])
    # Normalised the ramp is i / 19: columns 12 to 19 of the box lie above 0.6.
    assert np.array_equal(np.flatnonzero(mask.any(axis=0)), 2 + np.arange(12, 20))
    assert np.array_equal(np.flatnonzero(mask.any(axis=1)), 3 + np.arange(18))
    common = ramp[:, 12:].sum()
    assert quality == pytest.approx(common / (18 * 8 + ramp.sum() - common))


def test_threshold_is_that_of_the_config(config, image, monkeypatch):
    config.model.test_cfg = dict(threshold='best')
    predictor = BoxCasegPredictor(init_model(config))
    predictor.set_image(image)
    # IoUs to expect without and with the third column: 1.2 / 2.33 and 1.53 / 3, then 1.8 / 2.44 and
    # 2.24 / 3. A threshold of 0.5 takes it in the first map and leaves it out of the second.
    for row, columns, expected in (
        ([0.6, 0.6, 0.33, 0], 2, 1.2 / 2.33),
        ([0.9, 0.9, 0.44, 0], 3, 2.24 / 3),
    ):
        let_predict(monkeypatch, predictor, np.tile(row, (4, 1)))
        (mask,), (quality,) = predictor.predict(np.array([0.0, 0, 4, 4]))
        assert mask.any(axis=0).sum() == columns
        assert quality == pytest.approx(expected)


@pytest.mark.parametrize('slack', [0.0, 0.25])
@pytest.mark.parametrize('tta', [False, True])
def test_boxes_share_out_their_pixels_if_the_config_says(config, image, tta, slack):
    config.model.test_cfg = dict(exclusive=True, slack=slack)
    predictor = BoxCasegPredictor(init_model(with_tta(margin_of(config, 0.3), *VIEWS)), tta)
    probs = list(predict_maps(predictor, image))
    shared = exclusive_maps(probs, BBOXES, image.shape[:2], slack)
    # The first two boxes overlap.
    assert all((probs[index] != shared[index]).any() for index in (0, 1))

    def masks_of(probs):
        masks = np.zeros((3, *image.shape[:2]), bool)
        for mask, prob, bbox in zip(masks, probs, BBOXES, strict=True):
            part = mask_of(prob, bbox, image.shape[:2], 0.5, slack)
            x, y = part.corner
            height, width = part.window.shape
            mask[y : y + height, x : x + width] = part.window
            yield mask, expected_iou(prob, part.threshold)

    # Only who asks for one owner of each pixel gets it.
    predictor.set_image(image)
    for merge, maps in ((True, shared), (False, probs)):
        masks, quality = predictor.predict(BBOXES, merge=merge)
        expected, rated = map(np.array, zip(*masks_of(maps), strict=True))
        assert np.array_equal(masks, merge_masks(expected, BBOXES) if merge else expected)
        assert quality == pytest.approx(rated)
        assert predictor.predict(np.zeros((0, 4)), merge=merge)[0].shape == (0, *image.shape[:2])


def test_a_map_of_no_numbers_is_told_by_its_own_box(config, image):
    # Through the overlap it would be in the first box's map too.
    config.model.test_cfg = dict(exclusive=True)
    predictor = BoxCasegPredictor(init_model(config))
    samples = predictor.predict_packed(list(predictor.pack(image, BBOXES)))
    broken = samples[1].pred_maps.fused.clone()
    broken[0, 3, 3] = np.nan
    samples[1].pred_maps = PixelData(fused=broken)
    with pytest.raises(InputError, match=r'no numbers for the box \[4.0, 5.0, 24.0, 21.0\]'):
        predictor.masks_of(samples, exclusive=True)


@pytest.mark.parametrize('tta', [False, True])
def test_pixels_that_are_taken_count_in_mask_and_quality(config, image, tta):
    config.model.test_cfg = dict(exclusive=True)
    predictor = BoxCasegPredictor(init_model(with_tta(config)), tta)
    taken = np.zeros(image.shape[:2], bool)
    taken[:, :12] = True
    stream = MaskStream(predictor)

    def run(*more):
        (rated,) = stream.run([(0, 0)], lambda _: (image, BBOXES, *more), lambda _, rated: rated)
        return rated

    probs = list(predict_maps(predictor, image))
    shared = exclusive_maps(probs, BBOXES, image.shape[:2], taken=taken)
    rated, before = run(taken), run()
    for (mask, quality), prob, bbox in zip(rated, shared, BBOXES, strict=True):
        expected = mask_of(prob, bbox, image.shape[:2], 0.5)
        assert np.array_equal(mask.window, expected.window)
        assert quality == pytest.approx(expected_iou(prob, expected.threshold))
    assert rated[0][1] != pytest.approx(before[0][1])
    assert rated[2][1] == pytest.approx(before[2][1])
    # A network whose boxes do not share out pixels leaves that to the merge.
    predictor.exclusive = False
    assert [q for _, q in run(taken)] == pytest.approx([q for _, q in run()])


def test_boxes_of_other_images_claim_nothing(config, image):
    config.model.test_cfg = dict(exclusive=True)
    predictor = BoxCasegPredictor(init_model(config), batch_size=32)
    stream = MaskStream(predictor)
    (alone,) = stream.run([(0, image)], lambda one: (one, BBOXES), lambda _, rated: rated)
    both = stream.run([(0, image), (0, image)], lambda one: (one, BBOXES), lambda _, rated: rated)
    for rated in both:
        for (mask, quality), (other, other_quality) in zip(rated, alone, strict=True):
            assert np.array_equal(mask.window, other.window)
            assert quality == pytest.approx(other_quality)


@pytest.mark.parametrize('tta', [False, True])
def test_quality_is_calibrated_as_the_config_says(config, image, tta):
    config.model.test_cfg = dict(calibration=(2.0, 1.0))
    predictor = BoxCasegPredictor(init_model(with_tta(config)), tta)
    for sample in predictor.predict_packed(list(predictor.pack(image, BBOXES))):
        prob = sample.pred_maps.get('fused')[0].numpy()
        ((mask, quality),) = predictor.masks_of([sample])
        raw = expected_iou(prob, mask.threshold)
        odds = (raw / (1 - raw)) ** 2 * np.e
        assert quality == pytest.approx(odds / (1 + odds)) != raw


def test_best_threshold_is_looked_for_once_a_map(config, image, monkeypatch):
    calls = []
    monkeypatch.setattr(
        'mmboxcaseg.proxy.masks.best_threshold', lambda prob, tight: calls.append(prob) or 0.25
    )
    predictor = BoxCasegPredictor(init_model(config), threshold='best')
    rated = predictor.masks_of(predictor.predict_packed(list(predictor.pack(image, BBOXES))))
    assert len(calls) == 3
    assert all(isinstance(mask, BoxMask) and mask.threshold == 0.25 for mask, _ in rated)


def test_the_network_sees_the_pixels_of_the_image_that_is_set(model, image, monkeypatch):
    assert (image[..., 0] != image[..., 2]).any()
    predictor = BoxCasegPredictor(model)
    expected = [one['inputs'] for one in predictor.pack(image, BBOXES)]
    seen, predict = [], predictor.predict_packed
    monkeypatch.setattr(
        predictor, 'predict_packed', lambda packed: seen.extend(packed) or predict(packed)
    )
    predictor.set_image(image)
    predictor.predict(BBOXES)
    assert len(seen) == len(expected)
    # Threads may take them in any order.
    assert all(any(torch.equal(one['inputs'], e) for one in seen) for e in expected)


def test_images_one_after_the_other(model, image):
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    first = predictor.predict(BBOXES)[1]
    predictor.set_image(image[:, ::-1])
    assert not np.allclose(predictor.predict(BBOXES)[1], first, atol=1e-3)
    predictor.set_image(image)
    assert np.array_equal(predictor.predict(BBOXES)[1], first)


def test_boxes_of_several_images_in_one_batch(model, image):
    predictor = BoxCasegPredictor(model)
    images = [image, image[:, ::-1].copy()]
    packed = [one for img in images for one in predictor.pack(img, BBOXES)]
    together = [s.pred_maps.fused[0].numpy() for s in predictor.predict_packed(packed)]
    for one, maps in zip(images, (together[:3], together[3:]), strict=True):
        np.testing.assert_allclose(predict_maps(predictor, one), maps, atol=1e-5)


def test_no_boxes(model, image):
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    masks, quality = predictor.predict([])
    assert masks.shape == (0, 40, 48)
    assert quality.shape == (0,)
    assert list(predictor.pack(image, np.zeros((0, 4)))) == predictor.predict_packed([]) == []


def test_weak_only_network_gives_its_weak_map(config, image):
    config.model.update(salient_head=None, transferred_head=None)
    predictor = BoxCasegPredictor(init_model(config))
    assert predictor.output_map == 'weak'
    assert predict_maps(predictor, image).shape == (3, SIZE, SIZE)


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
def test_bad_boxes(model, image, bboxes, sentence):
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    with pytest.raises(InputError, match=sentence):
        predictor.predict(bboxes)
    with pytest.raises(InputError, match=sentence):
        list(predictor.pack(image, bboxes))


def test_one_box_may_stand_alone(model, image):
    predictor = BoxCasegPredictor(model)
    predictor.set_image(image)
    masks, quality = predictor.predict([47.5, 2, 60, 9])
    assert masks.shape == (1, 40, 48)
    assert quality.shape == (1,)


@pytest.mark.parametrize(
    'setting', [dict(batch_size=0), dict(threshold=2), dict(threshold=np.nan), dict(slack=2)]
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
        assert init_model(tmp_path / 'config.py').cfg.model == config.model

    def test_sync_bn_is_reverted(self, config):
        config.model.weak_head.norm_cfg = dict(type='SyncBN')
        model = init_model(config)
        assert type(model.weak_head.norm).__name__ != 'SyncBatchNorm'

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
