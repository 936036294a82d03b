import json

import cv2
import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.visualization import Visualizer
from pycocotools import mask as coco_mask

from mmboxcaseg.apis import (
    BoxCasegInferencer,
    BoxCasegPredictor,
    boxes_to_masks,
    generate_proxy_masks,
    init_model,
)
from mmboxcaseg.coco import shards
from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import box_agreement, decode_rle, encode_rle, merge_masks

SIZES = {'a.png': (40, 30), 'b.png': (24, 36), 'c.png': (20, 20)}
#: Those of a.png overlap.
BBOXES = {
    'a.png': [[2, 3, 22, 23], [8, 9, 20, 23], [20.5, 1, 40.25, 29.5]],
    'b.png': [[1, 2, 20, 30]],
    'c.png': [],
}


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    """``img/``, three images; ``boxes.json``, their boxes; ``mixed.json``, one with a mask."""
    root = tmp_path_factory.mktemp('inferencer')
    (root / 'img').mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number, (name, (width, height)) in enumerate(SIZES.items(), 1):
        image = cv2.GaussianBlur(rng.integers(0, 255, (height, width, 3), np.uint8), (9, 9), 0)
        cv2.imwrite(str(root / 'img' / name), image)
        images.append(dict(id=number, file_name=name, width=width, height=height))
        for x1, y1, x2, y2 in BBOXES[name]:
            box = [x1, y1, x2 - x1, y2 - y1]
            fields = dict(image_id=number, category_id=7, bbox=box)
            annotations.append(dict(id=len(annotations) + 1, **fields))
    crowd = dict(id=9, image_id=3, category_id=3, bbox=[0, 0, 5, 5], iscrowd=1)
    categories = [dict(id=3, name='cat'), dict(id=7, name='dog')]
    coco = dict(images=images, categories=categories, annotations=[*annotations, crowd])
    (root / 'boxes.json').write_text(json.dumps(coco))
    annotations[1]['segmentation'] = [[8, 9, 20, 9, 14, 23]]
    (root / 'mixed.json').write_text(json.dumps(coco))
    return root


@pytest.fixture(scope='module')
def inferencer(trained):
    return BoxCasegInferencer(*trained, device='cpu', show_progress=False)


def read(root, name='a.png'):
    return cv2.imread(str(root / 'img' / name))


def masks_of(prediction):
    return np.array([decode_rle(rle, tuple(rle['size'])) for rle in prediction['masks']])


@pytest.mark.parametrize('boxes', ['boxes.json', 'mixed.json'])
def test_a_file_gets_what_mmboxcaseg_masks_writes(
    inferencer, trained, data, tmp_path, boxes, monkeypatch
):
    # The boxes of the second image begin a batch of their own.
    monkeypatch.setattr(shards, 'SHARD_IMAGES', 1)
    monkeypatch.setattr('mmboxcaseg.apis.inferencer.SHARD_IMAGES', 1)
    config, checkpoint = trained
    network = dict(config=config, checkpoint=checkpoint, device='cpu')
    boxes_to_masks(data / boxes, data / 'img', tmp_path, **network)
    result = inferencer(data / 'img', data / boxes, return_as='coco')
    content = json.loads((tmp_path / 'boxes.json').read_text())
    assert [len(annotations) for annotations in result['predictions']] == [3, 1, 1]
    content['annotations'] = sum(result['predictions'], [])
    assert json.dumps(content).encode() == (tmp_path / 'masks.json').read_bytes()


def test_arrays_get_the_same_as_the_file(inferencer, data):
    by_file = inferencer(data / 'img', data / 'boxes.json')['predictions']
    lists = [BBOXES[name] for name in SIZES]
    for inputs, bboxes in (
        (data / 'img', lists),
        (str(data / 'img'), BBOXES),
        ([data / 'img' / 'a.png', read(data, 'b.png'), str(data / 'img' / 'c.png')], lists),
        ((read(data, name) for name in SIZES), iter(lists)),
        (((read(data, name), bboxes) for name, bboxes in BBOXES.items()), None),
    ):
        predictions = inferencer(inputs, bboxes)['predictions']
        assert [one.pop('labels') for one in predictions] == [[0] * 3, [0], []]
        assert predictions == [
            {key: value for key, value in one.items() if key != 'labels'} for one in by_file
        ]
    assert [one['labels'] for one in by_file] == [[1] * 3, [1], []]
    assert json.loads(json.dumps(by_file)) == by_file
    assert by_file[0]['bboxes'] == BBOXES['a.png']


def test_generators_are_not_read_to_their_end_first(inferencer, data):
    given = []

    def pairs():
        for number in range(40):
            given.append(number)
            yield read(data), [[2, 3, 22, 23]] if number < 30 else 'none'

    with pytest.raises(InputError, match='image 30: bboxes must be numbers'):
        inferencer(pairs())
    assert given == [*range(31)]


def test_one_image_is_what_the_predictor_gives(inferencer, trained, data, tmp_path):
    bboxes = BBOXES['a.png']
    predictor = BoxCasegPredictor(init_model(*trained))
    predictor.set_image(read(data))
    raw, quality = predictor.predict(bboxes)
    merged, same_quality = predictor.predict(bboxes, merge=True)
    assert np.array_equal(merged, merge_masks(raw, np.array(bboxes)))
    assert not np.array_equal(merged, raw)
    # Each lies in its own box, the third one's edges rounded.
    for mask, (x1, y1, x2, y2) in zip(raw, [*bboxes[:2], [21, 1, 40, 30]], strict=True):
        assert mask.any()
        mask = mask.copy()
        mask[y1:y2, x1:x2] = False
        assert not mask.any()
    assert np.array_equal(quality, same_quality)
    for merge, masks in ((True, merged), (False, raw)):
        (one,) = inferencer(read(data), bboxes, merge=merge)['predictions']
        assert np.array_equal(masks_of(one), masks)
        assert one['scores'] == quality.tolist()
        assert one['box_agreement'] == box_agreement(masks, np.array(bboxes)).tolist()
    # And what the tool writes, of a file with this image alone.
    coco = json.loads((data / 'boxes.json').read_text())
    coco['images'] = coco['images'][:1]
    coco['annotations'] = coco['annotations'][:3]
    (tmp_path / 'one.json').write_text(json.dumps(coco))
    network = dict(config=trained[0], checkpoint=trained[1], device='cpu')
    generate_proxy_masks(tmp_path / 'one.json', data / 'img', tmp_path / 'out.json', **network)
    written = json.loads((tmp_path / 'out.json').read_text())['annotations']
    assert [a['segmentation'] for a in written] == [encode_rle(mask) for mask in merged]
    assert [a['quality'] for a in written] == quality.tolist()
    assert [a['box_agreement'] for a in written] == box_agreement(merged, bboxes).tolist()


def test_boxes_share_out_pixels_where_masks_are_merged(inferencer, data, monkeypatch):
    def scores(merge):
        (one,) = inferencer(read(data), BBOXES['a.png'], merge=merge)['predictions']
        return one['scores']

    plain = scores(merge=False)
    assert scores(merge=True) == plain
    monkeypatch.setattr(inferencer.predictor, 'exclusive', True)
    assert scores(merge=False) == plain
    assert scores(merge=True) != plain


def test_batches_go_across_images(inferencer, data, monkeypatch):
    batches = []
    predict = BoxCasegPredictor.predict_packed

    def spy(self, packed):
        batches.append(len(packed))
        return predict(self, packed)

    monkeypatch.setattr(BoxCasegPredictor, 'predict_packed', spy)
    monkeypatch.setattr(inferencer._stream, 'threads', 0)
    inferencer(data / 'img', BBOXES)
    inferencer(data / 'img', BBOXES, batch_size=3)
    assert batches == [4, 3, 1]


class TestForms:
    def test_array(self, inferencer, data):
        (one,) = inferencer(read(data), BBOXES['a.png'])['predictions']
        (arrays,) = inferencer(read(data), BBOXES['a.png'], return_as='array')['predictions']
        assert arrays['masks'].dtype == bool and arrays['masks'].shape == (3, 30, 40)
        assert np.array_equal(arrays['masks'], masks_of(one))
        for name in ('bboxes', 'labels', 'scores', 'box_agreement'):
            assert arrays[name].tolist() == one[name]

    def test_coco(self, inferencer, data):
        images = [data / 'img' / name for name in SIZES]
        bboxes = [BBOXES[name] for name in SIZES]
        first, second, third = inferencer(images, bboxes, return_as='coco')['predictions']
        assert [(a['id'], a['image_id'], a['category_id']) for a in [*first, *second]] == [
            (1, 1, 1),
            (2, 1, 1),
            (3, 1, 1),
            (4, 2, 1),
        ]
        assert third == []
        assert first[2]['bbox'] == [20.5, 1, 19.75, 28.5]
        pixels = decode_rle(first[2]['segmentation'], (30, 40)).sum()
        assert first[2]['area'] == pixels and first[2]['iscrowd'] == 0
        assert set(first[0]) == {
            *('id', 'image_id', 'category_id', 'bbox', 'area', 'iscrowd'),
            *('segmentation', 'quality', 'box_agreement'),
        }

    @pytest.mark.parametrize('choice', [dict(return_as='datasample'), dict(return_datasamples=1)])
    def test_datasample(self, inferencer, data, choice):
        path, bboxes = data / 'img' / 'a.png', BBOXES['a.png']
        (arrays,) = inferencer(path, bboxes, return_as='array')['predictions']
        (sample,) = inferencer(path, bboxes, **choice)['predictions']
        assert isinstance(sample, DetDataSample)
        assert (sample.img_path, sample.ori_shape) == (str(path), (30, 40))
        found = sample.pred_instances
        assert found.masks.dtype == torch.bool
        for name, values in arrays.items():
            assert np.array_equal(found[name].numpy(), values.astype(found[name].numpy().dtype))

    def test_supervision(self, inferencer, data):
        supervision = pytest.importorskip('supervision', reason='of the extra "test"')
        (arrays,) = inferencer(read(data), BBOXES['a.png'], return_as='array')['predictions']
        (found,) = inferencer(read(data), BBOXES['a.png'], return_as='supervision')['predictions']
        assert isinstance(found, supervision.Detections)
        assert np.array_equal(found.mask, arrays['masks'])
        assert np.array_equal(found.xyxy, arrays['bboxes'])
        assert np.array_equal(found.confidence, arrays['scores'])
        assert np.array_equal(found.class_id, arrays['labels'])
        assert np.array_equal(found.data['box_agreement'], arrays['box_agreement'])

    def test_supervision_that_is_not_installed(self, inferencer, data, monkeypatch):
        monkeypatch.setitem(__import__('sys').modules, 'supervision', None)
        with pytest.raises(InputError, match='pip install supervision'):
            inferencer(read(data), BBOXES['a.png'], return_as='supervision')

    def test_true_masks(self, inferencer, data):
        kept, *_ = inferencer(data / 'img', data / 'mixed.json')['predictions']
        drawn, *_ = inferencer(data / 'img', data / 'boxes.json')['predictions']
        assert [quality == 1 for quality in kept['scores']] == [False, True, False]
        (triangle,) = coco_mask.frPyObjects([[8, 9, 20, 9, 14, 23]], 30, 40)
        assert np.array_equal(masks_of(kept)[1], coco_mask.decode(triangle))
        both = inferencer(data / 'img', data / 'mixed.json', keep_masks=False)
        assert both['predictions'][0] == drawn

    def test_true_masks_count_in_the_quality_of_others(self, inferencer, data, monkeypatch):
        monkeypatch.setattr(inferencer.predictor, 'exclusive', True)
        kept, *_ = inferencer(data / 'img', data / 'mixed.json')['predictions']
        seen = []
        masks_of = BoxCasegPredictor.masks_of

        def spy(self, samples, exclusive, taken):
            seen.append(taken)
            return masks_of(self, samples, exclusive, None)

        monkeypatch.setattr(BoxCasegPredictor, 'masks_of', spy)
        without, *_ = inferencer(data / 'img', data / 'mixed.json')['predictions']
        (triangle,) = coco_mask.frPyObjects([[8, 9, 20, 9, 14, 23]], 30, 40)
        assert np.array_equal(seen[0], coco_mask.decode(triangle))
        assert seen[1] is None
        # The first box has the triangle in it, the third lies beside it.
        assert kept['scores'][0] != pytest.approx(without['scores'][0], abs=1e-4)
        assert kept['scores'][2] == pytest.approx(without['scores'][2])
        seen.clear()
        for settings in (dict(keep_masks=False), dict(merge=False)):
            inferencer(data / 'img', data / 'mixed.json', **settings)
        assert seen == [None] * len(seen) != []

    def test_masks_that_are_not_true_take_nothing(self, inferencer, data, tmp_path, monkeypatch):
        monkeypatch.setattr(inferencer.predictor, 'exclusive', True)
        content = json.loads((data / 'boxes.json').read_text())
        box, proxy, _ = content['annotations'][:3]
        x1, y1, x2, y2 = BBOXES['a.png'][0]
        box['segmentation'] = [[x1, y1, x2, y1, x2, y2, x1, y2]]
        proxy |= dict(segmentation=[[8, 9, 20, 9, 14, 23]], quality=0.8)
        (tmp_path / 'proxy.json').write_text(json.dumps(content))
        results = [
            inferencer(data / 'img', path)['predictions']
            for path in (tmp_path / 'proxy.json', data / 'boxes.json')
        ]
        assert results[0] == results[1]


class TestPictures:
    def test_saved_shown_and_returned(self, inferencer, data, tmp_path, monkeypatch):
        shown = []
        monkeypatch.setattr(
            Visualizer, 'show', lambda self, img, win_name, wait_time: shown.append((win_name, img))
        )
        inputs = [data / 'img' / 'a.png', read(data, 'b.png')]
        bboxes = [BBOXES['a.png'], BBOXES['b.png']]
        result = inferencer(
            inputs, bboxes, out_dir=tmp_path, no_save_pred=False, return_vis=True, show=True
        )
        names = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob('*.*'))
        assert names == [
            *('preds/00000001.json', 'preds/a.json', 'vis/00000001.jpg', 'vis/a.png'),
        ]
        picture = cv2.imread(str(tmp_path / 'vis' / 'a.png'))[..., ::-1]
        assert np.array_equal(result['visualization'][0], picture)
        assert [name for name, _ in shown] == ['a.png', '00000001.jpg']
        assert np.array_equal(shown[0][1], picture)
        # What is neither mask nor box is the photograph.
        outside = ~masks_of(result['predictions'][0]).any(axis=0)
        outside[:, :] &= cv2.dilate((~outside).astype(np.uint8), np.ones((3, 3))) == 0
        for x1, y1, x2, y2 in np.rint(BBOXES['a.png']).astype(int):
            outside[y1:y2, x1:x2] = False
        assert outside.any() and np.array_equal(picture[outside], read(data)[..., ::-1][outside])
        saved = json.loads((tmp_path / 'preds' / 'a.json').read_text())
        assert saved == result['predictions'][0]

    def test_poor_masks_are_not_drawn(self, inferencer, data):
        result = inferencer(read(data), BBOXES['a.png'], return_vis=True, pred_score_thr=1)
        assert np.array_equal(result['visualization'][0], read(data)[..., ::-1])

    def test_nothing_unless_asked_for(self, inferencer, data, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        result = inferencer(read(data), BBOXES['a.png'])
        assert result['visualization'] == [] and not any(tmp_path.iterdir())
        inferencer(read(data), BBOXES['a.png'], out_dir='out', no_save_vis=True, print_result=True)
        assert not any(tmp_path.iterdir())
        assert str(result['predictions']) in capsys.readouterr().out

    def test_two_of_one_name(self, inferencer, data, tmp_path):
        with pytest.raises(InputError, match=r'two images are called a\.png'):
            inferencer([data / 'img' / 'a.png'] * 2, [[[1, 2, 9, 9]]] * 2, out_dir=tmp_path)


A = np.zeros((30, 40, 3), np.uint8)


@pytest.mark.parametrize(
    ('inputs', 'bboxes', 'settings', 'sentence'),
    [
        ('gone.png', [[1, 2, 3, 4]], {}, 'image gone.png does not exist'),
        ([A, A], [[[1, 2, 3, 4]]], {}, 'there are 2 images and 1 arrays of boxes'),
        ((a for a in [A]), iter([[], []]), {}, 'image 1 has boxes but no image'),
        ((a for a in [A, A]), [[]], {}, 'image 1 has no boxes'),
        ([A], None, {}, 'inputs must be pairs of an image and its boxes'),
        (7, [[1, 2, 3, 4]], {}, 'many images, not a int'),
        ([A, None], [[], []], {}, 'image 1: an image must be an array, not a NoneType'),
        (A[..., 0], [], {}, r'image 0: an image must be \(H, W, 3\) uint8, not \(30, 40\) uint8'),
        (A / 255, [], {}, 'image 0: .* float64'),
        (A, [[1, 2, 3]], {}, r'image 0: bboxes must be \(N, 4\) xyxy, not \(1, 3\)'),
        (A, 'none', {}, 'boxes are those of the file none: give the folder of its images'),
        (A, [[1, 2, 3, 4], [40, 2, 50, 9]], {}, r'00000000.jpg: box 1, .* outside .*\(40x30\)'),
        (A, [[5, 2, 3, 4]], {}, r'box 0, \[5\.0, 2\.0, 3\.0, 4\.0\], is empty'),
        (A, [], dict(return_as='png'), "must be one of dict, array, .*, not 'png'"),
        (A, [], dict(batch_size=0), 'batch_size must be'),
        (A, [], dict(pred_score_thr=2), r'pred_score_thr must be in \[0, 1\]'),
    ],
)
def test_errors_are_one_sentence(inferencer, inputs, bboxes, settings, sentence):
    with pytest.raises(InputError, match=sentence) as error:
        inferencer(inputs, bboxes, **settings)
    assert '\n' not in str(error.value)


def test_folders_that_do_not_fit(inferencer, data, tmp_path):
    with pytest.raises(InputError, match='holds no image$'):
        inferencer(tmp_path, {})
    with pytest.raises(InputError, match=r'holds no image d\.png, which has boxes'):
        inferencer(data / 'img', {'d.png': [[1, 2, 3, 4]]})
    (tmp_path / 'broken.png').write_bytes(b'no image')
    with pytest.raises(InputError, match=r'broken\.png cannot be decoded'):
        inferencer(tmp_path, [[[1, 2, 3, 4]]])


def test_links_that_lead_out_of_the_folder(inferencer, data, tmp_path, monkeypatch):
    (tmp_path / 'a.png').symlink_to(data / 'img' / 'a.png')
    for bboxes in ([BBOXES['a.png']], {'a.png': BBOXES['a.png']}):
        with pytest.raises(InputError, match='a.png is or lies behind a link .*FOLLOW_LINKS=1'):
            inferencer(tmp_path, bboxes)
    monkeypatch.setenv('MMBOXCASEG_FOLLOW_LINKS', '1')
    assert len(inferencer(tmp_path, [BBOXES['a.png']])['predictions'][0]['masks']) == 3


def test_networks_that_are_none(trained):
    with pytest.raises(InputError, match='a checkpoint is missing'):
        BoxCasegInferencer(trained[0])
    with pytest.raises(InputError, match='device'):
        BoxCasegInferencer(*trained, device='abacus')
