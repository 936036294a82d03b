import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator

from mmboxcaseg.datasets import SalientObjectDataset
from mmboxcaseg.errors import InputError
from mmboxcaseg.evaluation import SalientObjectMetric, salient_object
from mmboxcaseg.evaluation.salient_object import score_salient_map, summarize_salient_scores


def half_plane(size=8):
    mask = np.zeros((size, size), dtype=bool)
    mask[:, : size // 2] = True
    return mask


def test_curves_worked_out_by_hand():
    target = np.array([[1, 1, 0, 0]], dtype=bool).repeat(4, axis=0)
    # Four of eight object pixels at 1, four at 0.5; ground at 0.5 and at 0.
    prob = np.array([[1, 0.5, 0.5, 0]], dtype=np.float32).repeat(4, axis=0)
    scores = score_salient_map(prob, target)
    assert scores.precision.shape == scores.recall.shape == (256,)
    # Thresholds 255 to 128, then 127 (0.5 is cut to 127 of 255) to 1, then 0.
    assert scores.precision[[0, 127, 128, 254, 255]] == pytest.approx([1, 1, 2 / 3, 2 / 3, 1 / 2])
    assert scores.recall[[0, 127, 128, 254, 255]] == pytest.approx([1 / 2, 1 / 2, 1, 1, 1])
    assert scores.mae == pytest.approx((0 + 0.5 + 0.5 + 0) / 4)
    # F at the three: 1.3 * P * R / (0.3 * P + R).
    expected = max(1.3 * 0.5 / 0.8, 1.3 * (2 / 3) / (0.2 + 1), 1.3 * 0.5 / 1.15)
    assert summarize_salient_scores([scores])['maxF'] == pytest.approx(expected)


def test_precision_and_recall_are_averaged_before_f():
    target = half_plane()
    perfect = score_salient_map(target.astype(np.float32), target)
    missed = score_salient_map((~target).astype(np.float32), target)
    summary = summarize_salient_scores([perfect, missed])
    # Mean precision and recall are 1/2 above threshold 0; at 0 they are 1/2 and 1.
    assert summary['maxF'] == pytest.approx(1.3 * 0.5 / (0.15 + 1))
    assert summary['MAE'] == pytest.approx(0.5)
    assert summarize_salient_scores([perfect]) == pytest.approx(dict(maxF=1, MAE=0, Sm=1))
    # Where nothing that is found is right, F is 0.
    assert summarize_salient_scores([missed])['maxF'] == pytest.approx(1.3 * 0.5 / (0.15 + 1))


def test_s_measure_of_a_flat_map_worked_out_by_hand():
    scores = score_salient_map(np.full((8, 8), 0.5, np.float32), half_plane())
    # Object and ground alike: twice the mean over the squared mean plus 1.
    object_score = 2 * 0.5 / (0.5**2 + 1)
    # The object's centre, column 1.5, is rounded to 2: of four parts the two with columns 0 to 2
    # are flat in map and truth and count as alike, the others as having nothing in common.
    region_score = 3 / 8
    assert scores.s_measure == pytest.approx((object_score + region_score) / 2)


def sample(prob, target, **changes):
    return (
        dict(
            img_path='x.jpg',
            ori_shape=target.shape,
            gt_sem_seg=dict(sem_seg=torch.from_numpy(target.astype(np.uint8))[None]),
            pred_maps=dict(fused=torch.tensor(prob, dtype=torch.float32)[None]),
        )
        | changes
    )


def evaluate(metric, *samples):
    metric.process({}, samples)
    assert len(metric.results) == len(samples)
    return metric.evaluate(len(samples))


def test_maps_are_resized_to_their_images():
    target = np.zeros((16, 24), dtype=bool)
    target[:, :12] = True
    metrics = evaluate(SalientObjectMetric(), sample([[1, 1, 0, 0]] * 2, target))
    assert metrics.keys() == {'fused/maxF', 'fused/MAE', 'fused/Sm'}
    assert metrics['fused/maxF'] == 1
    # Bilinear from 4 to 24 columns: on each side of the edge 1/12, 3/12 and 5/12 are missing.
    assert metrics['fused/MAE'] == pytest.approx(2 * (9 / 12) / 24)


@pytest.mark.parametrize(('normalize', 'mae'), [(True, 0), (False, 0.4)])
def test_maps_are_stretched_if_wanted(normalize, mae):
    prob = np.where(half_plane(), 0.6, 0.4)
    metrics = evaluate(SalientObjectMetric(normalize), sample(prob, half_plane()))
    assert metrics['fused/MAE'] == pytest.approx(mae)


def test_several_maps_and_batches():
    metric = SalientObjectMetric()
    target = half_plane()
    maps = {
        'weak': torch.from_numpy(~target)[None].float(),
        'fused': torch.from_numpy(target)[None].float(),
    }
    metric.process({}, [sample([], target, pred_maps=maps)])
    metrics = evaluate_rest(metric, sample([], target, pred_maps=maps))
    assert [metrics[f'{name}/MAE'] for name in maps] == [1, 0]


def evaluate_rest(metric, *samples):
    metric.process({}, samples)
    return metric.evaluate(len(metric.results))


def test_mask_that_a_patch_was_cut_from():
    with pytest.raises(InputError, match=r'mask of x\.jpg was cut .* mmboxcaseg\.WholeImagePatch'):
        evaluate(SalientObjectMetric(), sample([[1]], half_plane(), ori_shape=(9, 9)))


def test_no_image():
    with pytest.raises(InputError, match='SalientObjectMetric has nothing to score: the data set'):
        evaluate(SalientObjectMetric())


def test_library_is_missing(monkeypatch):
    monkeypatch.setattr(salient_object, 'find_spec', lambda name: None)
    with pytest.raises(InputError, match='needs PySODMetrics: install it'):
        SalientObjectMetric()


def test_dataset_to_score(data_root, box_caseg_cfg):
    """A network that knows the truth: maps at the patch's size, truth at the image's."""
    dataset = SalientObjectDataset(
        str(data_root / 'salient'),
        test_mode=True,
        pipeline=[
            dict(type='mmboxcaseg.LoadPatchImage'),
            dict(type='mmboxcaseg.WholeImagePatch', size=(72, 88)),
            dict(type='mmboxcaseg.PackPatchInputs'),
        ],
    )
    evaluator = Evaluator(SalientObjectMetric())
    for index in range(len(dataset)):
        packed = dataset[index]
        data_sample = packed['data_samples']
        truth = data_sample.gt_sem_seg.sem_seg.float()
        assert packed['inputs'].shape == (3, 72, 88)
        assert truth.shape == (1, 36, 44)
        data_sample.pred_maps = dict(
            fused=torch.nn.functional.interpolate(truth[None], (72, 88))[0]
        )
        evaluator.process([data_sample])
    metrics = evaluator.evaluate(len(dataset))
    assert metrics['fused/maxF'] == pytest.approx(1)
    assert metrics['fused/MAE'] == pytest.approx(0, abs=0.03)
    assert metrics['fused/Sm'] > 0.95
