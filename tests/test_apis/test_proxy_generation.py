import cv2
import numpy as np
import pytest
import torch

from mmboxcaseg.apis import BoxCasegPredictor
from mmboxcaseg.apis.proxy_generation import ProxyGenerator, finish_image
from mmboxcaseg.coco import shards
from mmboxcaseg.coco.groups import ImageGroups
from mmboxcaseg.proxy import decode_rle


class Fickle(BoxCasegPredictor):
    """Its maps depend on their whole batch and on torch's threads, as a network's last bits may."""

    def predict_patches(self, patches, bboxes):
        prob = patches[:, 0, ..., 0].astype(np.float32)
        assert bboxes.shape == (len(patches), 1, 4)
        return prob + (patches.mean() * len(patches) * torch.get_num_threads() * prob) % 60


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
    categories = [dict(id=1, name='cat')]
    groups = ImageGroups(
        as_coco(dict(images=images, annotations=annotations, categories=categories))
    )

    def run(numbers, **settings):
        predictor = Fickle(None, 24, batch_size=4)
        generator = ProxyGenerator(groups, tmp_path, predictor, **settings)
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


def test_workers_do_not_matter(generate):
    assert generate([0, 1, 2], workers=2) == generate([0, 1, 2])


def test_whole_batches_where_there_is_a_gpu(generate, monkeypatch):
    sizes = []

    def spy(self, patches, bboxes):
        sizes.append(len(patches))
        return np.zeros((len(patches), 24, 24), np.float32)

    monkeypatch.setattr(Fickle, 'predict_patches', spy)
    generate([0, 1, 2])
    assert sizes == [4, 4, 1, 4, 4, 1, 2]
    sizes.clear()
    generate([0, 1, 2], threads=1)
    assert sizes == [2, 2, 2, 2, 1, 2, 2, 2, 2, 1, 2]


def test_time_in_the_network_is_a_part_of_all(generate):
    generator = ProxyGenerator(None, '', Fickle(None, 24, batch_size=4))
    assert generator.network_s == 0
    patches, bboxes = np.zeros((4, 1, 24, 24, 3), np.uint8), np.zeros((4, 1, 4), np.float32)
    generator._predict_batch(patches, bboxes, None)
    assert 0 < generator.network_s < 5


def test_threshold_makes_masks_and_quality(as_coco):
    coco = as_coco(
        dict(
            images=[dict(id=1, file_name='a.png', width=4, height=4)],
            categories=[dict(id=1, name='cat')],
            annotations=[dict(id=5, image_id=1, category_id=1, bbox=[0, 0, 4, 4])],
        )
    )
    maps = [np.tile(np.float32([0.9, 0.9, 0.44, 0]), (4, 1))]
    for threshold, columns, quality in ((0.5, 2, 1.8 / 2.44), ('best', 3, 2.24 / 3)):
        (proxy,), (raw,) = finish_image(coco.images[0], coco.annotations, maps, threshold)
        assert decode_rle(proxy['segmentation'], (4, 4)).any(axis=0).sum() == columns
        assert proxy['quality'] == raw['score'] == pytest.approx(quality)
