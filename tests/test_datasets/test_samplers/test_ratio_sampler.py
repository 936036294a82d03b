import math

import numpy as np
import pytest
from mmengine.dataset import BaseDataset, ConcatDataset
from torch.utils.data import DataLoader

from mmboxcaseg.datasets.samplers import RatioSampler, batch_counts
from mmboxcaseg.datasets.samplers import ratio_sampler as module
from mmboxcaseg.errors import InputError
from mmboxcaseg.registry import DATASETS


class Source(BaseDataset):
    """A data set of numbers."""

    def __init__(self, supervision, size, overlapping=None):
        self.size = size
        self._overlapping = overlapping
        self.asked_for = None
        super().__init__(metainfo=dict(supervision=supervision))

    def load_data_list(self):
        return [dict()] * self.size

    def __getitem__(self, index):
        return index

    def overlapping(self, min_iou):
        self.asked_for = min_iou
        return self._overlapping


def sources(boxes=1000, salient=70, overlapping=None):
    return ConcatDataset(
        [Source('box', boxes, overlapping), Source('mask', salient)], ignore_keys=['supervision']
    )


def batches(sampler, batch_size=16):
    indices = np.array(list(sampler))
    assert len(indices) == len(sampler)
    return indices.reshape(-1, batch_size)


def as_rank(monkeypatch, rank, world_size):
    monkeypatch.setattr(module, 'get_dist_info', lambda: (rank, world_size))


@pytest.mark.parametrize(
    ('ratio', 'batch_size', 'expected'),
    [
        ((9, 7), 16, [9, 7]),
        ((11, 5), 16, [11, 5]),
        ((9, 7), 8, [5, 3]),
        ((1, 1), 3, [2, 1]),
        ((0.5, 1.5), 8, [2, 6]),
        ((14, 2), 32, [28, 4]),
    ],
)
def test_batch_counts(ratio, batch_size, expected):
    assert batch_counts(ratio, batch_size) == expected


@pytest.mark.parametrize('ratio', [(0, 0), (-1, 2), ('9', '7'), (math.inf, 1), (math.nan, 1)])
def test_ratio_that_is_none(ratio):
    with pytest.raises(InputError, match='positive numbers'):
        batch_counts(ratio, 16)


@pytest.mark.parametrize('batch_size', [0, 1.5, '16'])
def test_batch_size_that_is_none(batch_size):
    with pytest.raises(InputError, match='batch_size must be a whole number of at least 1'):
        batch_counts((9, 7), batch_size)


@pytest.mark.parametrize(
    ('ratio', 'batch_size', 'source'), [((100, 1), 16, 1), ((0, 7), 16, 0), ((9, 7), 1, 1)]
)
def test_ratio_that_gives_a_source_nothing(ratio, batch_size, source):
    with pytest.raises(InputError, match=rf'gives source {source} nothing of a batch of'):
        RatioSampler(sources(), batch_size, ratio, seed=0)


@pytest.mark.parametrize('ratio', [(9, 7), (11, 5), (8, 8)])
def test_every_batch_has_the_ratio(ratio):
    salient = (batches(RatioSampler(sources(), 16, ratio, seed=0)) >= 1000).sum(axis=1)
    assert set(salient) == {ratio[1]}


def test_an_epoch_uses_every_salient_image_once():
    drawn = batches(RatioSampler(sources(salient=70), seed=0))
    assert drawn.shape == (10, 16)
    assert sorted(drawn[drawn >= 1000]) == list(range(1000, 1070))


def test_the_last_batch_is_filled_up():
    drawn = batches(RatioSampler(sources(salient=67), seed=0))
    salient, counts = np.unique(drawn[drawn >= 1000], return_counts=True)
    assert salient.tolist() == list(range(1000, 1067))
    assert sorted(counts)[-4:] == [1, 2, 2, 2]


def test_salient_images_are_used_again_if_they_do_not_fill_a_batch():
    drawn = batches(RatioSampler(sources(salient=3), seed=0))
    assert drawn.shape == (1, 16)
    assert set(drawn[drawn >= 1000]) == {1000, 1001, 1002}


def test_boxes_do_not_repeat_before_all_are_used():
    drawn = batches(RatioSampler(sources(boxes=1000), seed=0))
    boxes = drawn[drawn < 1000]
    assert len(np.unique(boxes)) == len(boxes) == 90
    drawn = batches(RatioSampler(sources(boxes=40), seed=0))
    boxes = drawn[drawn < 40]
    for start in (0, 40):
        assert sorted(boxes[start : start + 40]) == list(range(40))
    assert len(np.unique(boxes[80:])) == 10


def test_epochs_draw_afresh():
    sampler = RatioSampler(sources(), seed=0)
    first = batches(sampler)
    assert np.array_equal(batches(sampler), first)
    sampler.set_epoch(1)
    second = batches(sampler)
    assert len(np.intersect1d(first[first < 1000], second[second < 1000])) < 30
    assert not np.array_equal(first[first >= 1000], second[second >= 1000])


def test_seed_decides_the_draw():
    assert list(RatioSampler(sources(), seed=3)) == list(RatioSampler(sources(), seed=3))
    assert list(RatioSampler(sources(), seed=3)) != list(RatioSampler(sources(), seed=4))


def test_resumed_sampler_goes_on_with_the_same_draw():
    sampler = RatioSampler(sources(), seed=0)
    epochs = []
    for epoch in range(4):
        sampler.set_epoch(epoch)
        epochs.append(list(sampler))
    resumed = RatioSampler(sources(), seed=0)
    resumed.set_epoch(3)
    assert list(resumed) == epochs[3]


def test_draw_does_not_depend_on_the_number_of_workers():
    drawn = []
    for num_workers in (0, 2):
        dataset = sources()
        loader = DataLoader(
            dataset, 16, sampler=RatioSampler(dataset, seed=0), num_workers=num_workers
        )
        drawn.append(np.concatenate([batch.numpy() for batch in loader]))
        np.random.seed(99)  # nor on any global generator
    assert np.array_equal(*drawn)


@pytest.mark.parametrize('world_size', [1, 2, 3])
def test_ranks_share_one_draw(monkeypatch, world_size):
    ranks = []
    for rank in range(world_size):
        as_rank(monkeypatch, rank, world_size)
        ranks.append(batches(RatioSampler(sources(salient=7 * 12), seed=0)))
    assert {drawn.shape for drawn in ranks} == {(12 // world_size, 16)}
    together = np.concatenate(ranks)
    assert ((together >= 1000).sum(axis=1) == 7).all()
    # Each index once over all ranks: they are disjoint and leave nothing out.
    assert len(np.unique(together)) == together.size == 12 * 16
    assert sorted(together[together >= 1000]) == list(range(1000, 1084))
    as_rank(monkeypatch, 0, 1)
    alone = batches(RatioSampler(sources(salient=7 * 12), seed=0))
    assert sorted(map(tuple, together)) == sorted(map(tuple, alone))


def test_ranks_get_equally_many_batches(monkeypatch):
    lengths = set()
    for rank in range(3):
        as_rank(monkeypatch, rank, 3)
        lengths.add(len(batches(RatioSampler(sources(salient=71), seed=0))))
    assert lengths == {4}


def test_overlapping_boxes_are_left_out_by_their_probability():
    overlapping = np.zeros(1000, dtype=bool)
    overlapping[:400] = True
    dataset = sources(boxes=1000, salient=7 * 200, overlapping=overlapping)
    sampler = RatioSampler(dataset, overlap_iou=0.6, overlap_skip=0.75, seed=0)
    assert dataset.datasets[0].asked_for == 0.6
    left_out = []
    for epoch in range(5):
        sampler.set_epoch(epoch)
        drawn = np.unique(batches(sampler))
        # 1800 draws of 1000 boxes: all that are not left out turn up.
        assert set(range(400, 1000)) <= set(drawn)
        left_out.append(400 - (drawn < 400).sum())
    assert np.mean(left_out) == pytest.approx(300, abs=15)
    assert len(set(left_out)) > 1


def test_overlap_is_not_asked_for_by_default():
    dataset = sources()
    RatioSampler(dataset, seed=0)
    assert dataset.datasets[0].asked_for is None
    RatioSampler(dataset, overlap_skip=0.75, seed=0)
    assert dataset.datasets[0].asked_for == 0.5  # the release's


def test_all_boxes_may_overlap():
    dataset = sources(boxes=50, overlapping=np.ones(50, dtype=bool))
    drawn = batches(RatioSampler(dataset, overlap_skip=1.0, seed=0))
    assert set(drawn[drawn < 50]) == set(range(50))


def test_real_sources(train_dataset_cfg):
    dataset = DATASETS.build(train_dataset_cfg)
    sampler = RatioSampler(dataset, batch_size=4, ratio=(1, 1), overlap_skip=1.0, seed=0)
    loader = DataLoader(dataset, 4, sampler=sampler, collate_fn=list)
    ann_ids, salient = [], []
    for batch in loader:
        samples = [item['data_samples'] for item in batch]
        kinds = [sample.supervision for sample in samples]
        assert kinds == ['box', 'box', 'mask', 'mask']
        ann_ids += [sample.ann_id for sample in samples[:2]]
        salient += [sample.img_path for sample in samples[2:]]
    # The first two of the three boxes of each image overlap.
    assert {ann_id % 10 for ann_id in ann_ids} == {2}
    assert len(set(salient)) == 6


@pytest.mark.parametrize(
    'dataset',
    [
        Source('box', 5),
        ConcatDataset([Source('box', 5), Source('box', 5)]),
        ConcatDataset([Source('mask', 5), Source('box', 5)], ignore_keys=['supervision']),
    ],
)
def test_other_datasets_are_refused(dataset):
    with pytest.raises(InputError, match='of a box and a salient dataset'):
        RatioSampler(dataset, seed=0)


def test_bad_arguments():
    for ratio in ((1, 2, 3), 'ab', 7):
        with pytest.raises(InputError, match='two numbers'):
            RatioSampler(sources(), ratio=ratio, seed=0)
    for name in ('overlap_skip', 'overlap_iou'):
        with pytest.raises(InputError, match=rf'{name} must be in \[0, 1\]'):
            RatioSampler(sources(), **{name: 75}, seed=0)
