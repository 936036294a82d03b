import json
import math

import numpy as np
import pytest

from mmboxcaseg.coco import Proxy
from mmboxcaseg.coco.annotations import parse_coco
from mmboxcaseg.errors import InputError
from mmboxcaseg.evaluation.proxy_quality import (
    ProxyScores,
    compare_drops,
    compare_rankings,
    score_proxies,
)
from mmboxcaseg.proxy import encode_rle

# Two objects of a 4x4 image: the small one lies in the large one's box.
LARGE = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]], dtype=bool)
SMALL = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)


def make_truth():
    def annotation(id_, bbox, mask, **fields):
        return dict(
            id=id_, image_id=7, category_id=1, bbox=bbox, segmentation=encode_rle(mask), **fields
        )

    content = dict(
        images=[dict(id=7, file_name='a.jpg', width=4, height=4)],
        categories=[dict(id=1, name='thing')],
        annotations=[
            annotation(1, [0, 0, 4, 4], LARGE),
            annotation(2, [1, 1, 2, 2], SMALL),
            annotation(3, [0, 0, 4, 4], LARGE, iscrowd=1),
        ],
    )
    return parse_coco(json.dumps(content).encode(), 'truth.json')


def as_proxies(masks, quality=None):
    """Raw masks, and their quality if it is known, by annotation id."""
    return {id_: Proxy(encode_rle(mask), None, quality) for id_, mask in masks.items()}


def test_scores_of_filled_box_raw_and_merged_masks():
    # The raw mask of the large object is all of its box; merging takes the small one out of it.
    raw = as_proxies({1: np.ones((4, 4), bool), 2: SMALL})
    scores = score_proxies(make_truth(), raw)
    np.testing.assert_allclose(scores['filled box'].ious, [12 / 16, 1])
    np.testing.assert_allclose(scores['raw'].ious, [12 / 16, 1])
    np.testing.assert_allclose(scores['merged'].ious, [1, 1])
    np.testing.assert_allclose(scores['merged'].agreement, [1, 1])


def test_drop_keeps_what_agrees_with_its_box():
    # The small object's mask is one column: half of its box, IoU 1/2, agreement 1/2.
    column = SMALL & (np.arange(4) == 1)
    raw = as_proxies({1: LARGE, 2: column})
    rows = compare_drops(score_proxies(make_truth(), raw), thresholds=(0.5,))
    merged = {row.min_agreement: row for row in rows if row.masks == 'merged'}
    assert (merged[None].kept, merged[None].mean_iou) == (1, 0.75)
    # Not above the threshold is dropped.
    assert (merged[0.5].kept, merged[0.5].mean_iou) == (0.5, 1)


def test_missing_raw_mask_counts_as_empty_and_nothing_kept_has_no_mean():
    scores = score_proxies(make_truth(), {})
    assert scores['raw'].ious.tolist() == [0, 0]
    rows = compare_drops(scores, thresholds=(0.0,))
    assert rows[-1].kept == 0 and math.isnan(rows[-1].mean_iou)


@pytest.mark.parametrize('kind', ['filled box', 'raw', 'merged'])
def test_crowds_do_not_count(kind):
    assert len(score_proxies(make_truth(), {})[kind].ious) == 2


def test_quality_is_that_of_the_raw_mask():
    scores = score_proxies(make_truth(), as_proxies({2: SMALL}, quality=0.75))
    # The other box has no mask.
    assert scores['raw'].quality.tolist() == scores['merged'].quality.tolist() == [0, 0.75]
    assert np.isnan(scores['filled box'].quality).all()
    unknown = score_proxies(make_truth(), as_proxies({2: SMALL}))['raw'].quality
    assert np.isnan(unknown).tolist() == [False, True]


def test_masks_that_cannot_be_decoded_are_named():
    broken = {2: Proxy(dict(size=[9, 9], counts='0'))}
    with pytest.raises(InputError, match=r'mask of annotation 2 in raw\.json is broken: its size'):
        score_proxies(make_truth(), broken, 'raw.json')
    truth = make_truth()
    truth.annotations[0].text = b'{}'
    with pytest.raises(InputError, match=r'mask of annotation 1 in truth\.json is broken: there'):
        score_proxies(truth, {})


def test_rankings():
    ious = np.array([0.2, 0.4, 0.6, 0.8])
    merged = ProxyScores(ious, np.array([0.5, 0.9, 0.9, 0.1]), np.array([0.1, 0.2, 0.3, 0.4]))
    raw = ProxyScores(ious, np.ones(4), np.full(4, np.nan))
    rows = compare_rankings(dict(raw=raw, merged=merged))
    assert [(row.masks, row.measure) for row in rows] == [
        ('raw', 'agreement'),
        ('merged', 'agreement'),
        ('merged', 'quality'),
    ]
    flat, agreement, quality = rows
    # All alike: the first ones are kept.
    assert math.isnan(flat.correlation)
    assert flat.mean_ious == pytest.approx((0.5, 0.4, 0.3, 0.2))
    assert agreement.mean_ious == pytest.approx((0.5, 0.4, 0.5, 0.4))
    assert quality.correlation == pytest.approx(1)
    assert quality.error == pytest.approx(0.1 * (1 + 2 + 3 + 4) / 4)
    assert math.isnan(agreement.error)
    assert quality.mean_ious == pytest.approx((0.5, 0.6, 0.7, 0.8))


def test_one_mask_is_kept_at_least():
    scores = ProxyScores(np.array([0.5]), np.array([1.0]), np.array([np.nan]))
    (row, _) = compare_rankings(dict(raw=scores, merged=scores))
    assert row.mean_ious == (0.5,) * 4
