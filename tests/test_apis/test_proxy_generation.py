import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from random import Random
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData

from mmboxcaseg.apis import BoxCasegPredictor
from mmboxcaseg.apis.mask_stream import MaskStream, _map_ahead
from mmboxcaseg.apis.proxy_generation import ProxyGenerator
from mmboxcaseg.coco import shards
from mmboxcaseg.coco.groups import ImageGroups
from mmboxcaseg.proxy import decode_rle

PIPELINE = [
    dict(type='mmboxcaseg.LoadPatchImage'),
    dict(type='mmboxcaseg.BoxPatch', size=24),
    dict(type='mmboxcaseg.PackPatchInputs'),
]


class Fickle(BoxCasegPredictor):
    """Its maps depend on their whole batch and on torch's threads, as a network's last bits may."""

    def __init__(self, threshold=0.5):
        config = Config(dict(test_dataloader=dict(dataset=dict(pipeline=PIPELINE))))
        model = SimpleNamespace(
            cfg=config, output_map='fused', threshold=threshold, slack=0.0, exclusive=False
        )
        model.folded = lambda: model
        super().__init__(model, batch_size=4)

    def predict_packed(self, packed):
        patches = torch.stack([one['inputs'] for one in packed]).float()
        samples = [one['data_samples'] for one in packed]
        for sample, patch in zip(samples, patches, strict=True):
            prob = patch[:1]
            prob = prob + (patches.mean() * len(patches) * torch.get_num_threads() * prob) % 60
            sample.pred_maps = PixelData(fused=prob)
            sample.set_metainfo(dict(threshold=self.model.threshold))
        return samples


class Steady(Fickle):
    """Its maps depend on their patch alone."""

    def predict_packed(self, packed):
        return [sample for one in packed for sample in super(Steady, self).predict_packed([one])]


class Collected:
    """Stands in for the folder: keeps what is written."""

    def __init__(self, folder):
        self.images = folder.images
        self.written = {}

    def write(self, shard, *content):
        self.written[shard] = content


@pytest.fixture
def generate(tmp_path, monkeypatch, as_coco):
    """Run shards of three images each; seven images with up to five boxes, one with none."""
    monkeypatch.setattr(shards, 'SHARD_IMAGES', 3)
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index, count in enumerate([3, 5, 1, 0, 4, 5, 2]):
        images.append(dict(id=index, file_name=f'{index}.png', width=30, height=20))
        image = cv2.GaussianBlur(rng.integers(0, 255, (20, 30, 3), np.uint8), (5, 5), 0)
        cv2.imwrite(str(tmp_path / f'{index}.png'), image)
        for _ in range(count):
            bbox = [*rng.uniform(0, 9, 2).tolist(), *rng.uniform(5, 11, 2).tolist()]
            fields = dict(image_id=index, category_id=1, bbox=bbox)
            annotations.append(dict(id=len(annotations), **fields))
    coco = dict(images=images, annotations=annotations, categories=[dict(id=1, name='cat')])

    def run(numbers, predictor=Fickle, shuffle=None, **settings):
        if shuffle is not None:
            Random(shuffle).shuffle(images)
            Random(shuffle).shuffle(annotations)
        groups = ImageGroups(as_coco(coco))
        generator = ProxyGenerator(groups, tmp_path, predictor(), **settings)
        collected = Collected(shards.ShardFolder(tmp_path / 'out.json', groups))
        counts = list(generator.run(collected, numbers))
        assert counts == [
            groups.num_boxes[index] for number in numbers for index in collected.images(number)
        ]
        return collected.written

    return run


def test_shards_do_not_depend_on_each_other(generate):
    together = generate([0, 1, 2])
    assert sorted(together) == [0, 1, 2]
    for order in ([0], [1], [2], [1, 2], [2, 0]):
        alone = generate(order)
        assert alone == {shard: together[shard] for shard in order}


@pytest.mark.parametrize('threads', [2, 5])
def test_threads_do_not_matter(generate, threads):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        many = generate([0, 1, 2], threads=threads)
        torch.set_num_threads(1)
        assert many == generate([0, 1, 2], threads=1)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize('workers', [1, 2, 5])
def test_workers_do_not_matter(generate, workers):
    assert generate([0, 1, 2], workers=workers) == generate([0, 1, 2])


def test_order_of_the_file_changes_the_order_of_the_output_alone(generate):
    outputs, orders = [], []
    for shuffle in (None, 0, 1):
        written = generate([0, 1, 2], Steady, shuffle)
        proxies, raw = (sum((written[shard][part] for shard in range(3)), []) for part in (0, 1))
        outputs.append([{a['id']: a for a in proxies}, {r['ann_id']: r for r in raw}])
        orders.append([a['id'] for a in proxies])
    assert outputs[0] == outputs[1] == outputs[2]
    assert len(outputs[0][0]) == 20 and len(set(map(tuple, orders))) == 3


def test_what_is_read_ahead_is_bounded():
    started = []

    def tasks():
        for number in range(20):
            started.append(number)
            yield number

    with ThreadPoolExecutor(2) as pool:
        results = _map_ahead(pool, lambda number: 2 * number, tasks(), 8)
        for number, result in enumerate(results):
            assert result == 2 * number
            assert len(started) == min(number + 9, 20)


@pytest.mark.parametrize('workers', [0, 2])
def test_no_more_patches_than_two_batches_wait(workers):
    # However many boxes an image has.
    predictor = Fickle()
    image, bboxes = np.zeros((40, 40, 3), np.uint8), np.tile([2.0, 2, 30, 30], (50, 1))
    waiting, most = 0, 0
    pack, masks_of = predictor.pack, predictor.masks_of

    def counted(*args):
        nonlocal waiting, most
        for patch in pack(*args):
            waiting += 1
            most = max(most, waiting)
            yield patch

    def uncounted(samples, *more):
        def one_by_one():
            nonlocal waiting
            for sample in samples:
                waiting -= 1
                yield sample

        return masks_of(one_by_one(), *more)

    predictor.pack, predictor.masks_of = counted, uncounted
    stream = MaskStream(predictor, workers)
    ((task, count),) = stream.run(
        [(0, 'a')], lambda _: (image, bboxes), lambda task, rated: (task, len(rated))
    )
    assert (task, count, most) == ('a', 50, 8)


def test_images_are_let_go_once_their_boxes_are_cut_out():
    # One box each: many of them share a batch, and would be held in memory together.
    alive = []

    def load(_):
        image = np.zeros((40, 40, 3), np.uint8)
        alive.append(weakref.ref(image))
        return image, np.array([[2.0, 2, 30, 30]])

    predictor = Fickle()
    pack, most = predictor.pack, 0

    def counted(*args):
        nonlocal most
        most = max(most, sum(ref() is not None for ref in alive))
        return pack(*args)

    predictor.pack = counted
    assert len(list(MaskStream(predictor).run(enumerate('abcdefghij'), load, len_of))) == 10
    assert most <= 2


def len_of(_, rated):
    return len(rated)


def test_whole_batches_where_there_is_a_gpu(generate, monkeypatch):
    sizes = []
    predict_packed = Fickle.predict_packed

    def spy(self, packed):
        sizes.append(len(packed))
        return predict_packed(self, packed)

    monkeypatch.setattr(Fickle, 'predict_packed', spy)
    generate([0, 1, 2])
    assert sizes == [4, 4, 1, 4, 4, 1, 2]
    sizes.clear()
    generate([0, 1, 2], threads=1)
    assert sizes == [2, 2, 2, 2, 1, 2, 2, 2, 2, 1, 2]


def test_pipeline_and_masks_have_the_threads_of_who_asks(generate, monkeypatch):
    # mmcv's random transforms are not made for several.
    threads = set()

    def spied(function):
        def spy(*args):
            threads.add(threading.get_ident())
            return function(*args)

        return spy

    for name in ('pack', 'masks_of'):
        monkeypatch.setattr(Fickle, name, spied(getattr(Fickle, name)))
    generate([0, 1, 2], workers=4)
    assert threads == {threading.get_ident()}


def test_network_predicts_while_the_next_batch_is_cut_out():
    predictor = Fickle()
    pack, predict_packed = predictor.pack, predictor.predict_packed
    second = threading.Event()

    def packing(*args):
        for number, patch in enumerate(pack(*args)):
            if number == predictor.batch_size:
                second.set()
            yield patch

    def predicting(packed):
        assert second.wait(timeout=60)
        return predict_packed(packed)

    predictor.pack, predictor.predict_packed = packing, predicting
    image, bboxes = np.zeros((40, 40, 3), np.uint8), np.tile([2.0, 2, 30, 30], (12, 1))
    assert list(
        MaskStream(predictor, workers=1).run([(0, 0)], lambda _: (image, bboxes), len_of)
    ) == [12]


def test_time_in_the_network_is_a_part_of_all():
    predictor = Fickle()
    stream = MaskStream(predictor)
    assert stream.network_s == 0
    image, bboxes = np.zeros((30, 30, 3), np.uint8), np.array([[0.0, 0, 20, 20]])
    list(stream.run([(0, 0)], lambda _: (image, bboxes), len_of))
    assert 0 < stream.network_s < 5


@pytest.mark.parametrize(
    ('threshold', 'columns', 'quality'), [(0.5, 2, 1.8 / 2.44), ('best', 3, 2.24 / 3)]
)
def test_threshold_makes_masks_and_quality(
    tmp_path, monkeypatch, as_coco, threshold, columns, quality
):
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((4, 4, 3), np.uint8))
    image = dict(id=1, file_name='a.png', width=4, height=4)
    annotations = [dict(id=5, image_id=1, category_id=1, bbox=[0, 0, 4, 4])]
    categories = [dict(id=1, name='cat')]
    content = dict(images=[image], annotations=annotations, categories=categories)
    groups = ImageGroups(as_coco(content))

    def predict_packed(self, packed):
        (sample,) = (one['data_samples'] for one in packed)
        prob = torch.tensor([0.9, 0.9, 0.44, 0]).expand(1, 4, 4)
        sample.pred_maps = PixelData(fused=prob)
        sample.set_metainfo(dict(threshold=self.model.threshold))
        return [sample]

    monkeypatch.setattr(Fickle, 'predict_packed', predict_packed)
    collected = Collected(shards.ShardFolder(tmp_path / 'out.json', groups))
    list(ProxyGenerator(groups, tmp_path, Fickle(threshold)).run(collected, [0]))
    (proxy,), (raw,) = collected.written[0]
    assert decode_rle(proxy['segmentation'], (4, 4)).any(axis=0).sum() == columns
    assert proxy['quality'] == raw['score'] == pytest.approx(quality)
