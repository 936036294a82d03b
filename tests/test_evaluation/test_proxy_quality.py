import math

import numpy as np
import pytest

from mmboxcaseg.evaluation import compare_drops, score_proxies
from mmboxcaseg.proxy import encode_rle

# Two objects of a 4x4 image: the small one lies in the large one's box.
LARGE = np.array([[1, 1, 1, 1], [1, 0, 0, 1], [1, 0, 0, 1], [1, 1, 1, 1]], dtype=bool)
SMALL = np.array([[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]], dtype=bool)


def make_truth(**crowd):
    def annotation(id_, bbox, mask, **fields):
        return dict(
            id=id_, image_id=7, category_id=1, bbox=bbox, segmentation=encode_rle(mask), **fields
        )

    return dict(
        images=[dict(id=7, file_name='a.jpg', width=4, height=4)],
        categories=[dict(id=1, name='thing')],
        annotations=[
            annotation(1, [0, 0, 4, 4], LARGE),
            annotation(2, [1, 1, 2, 2], SMALL),
            annotation(3, [0, 0, 4, 4], LARGE, iscrowd=1),
        ],
    )


def test_scores_of_filled_box_raw_and_merged_masks():
    # The raw mask of the large object is all of its box; merging takes the small one out of it.
    raw = {1: encode_rle(np.ones((4, 4), bool)), 2: encode_rle(SMALL)}
    scores = score_proxies(make_truth(), raw)
    np.testing.assert_allclose(scores['filled box'].ious, [12 / 16, 1])
    np.testing.assert_allclose(scores['raw'].ious, [12 / 16, 1])
    np.testing.assert_allclose(scores['merged'].ious, [1, 1])
    np.testing.assert_allclose(scores['merged'].agreement, [1, 1])


def test_drop_keeps_what_agrees_with_its_box():
    # The small object's mask is one column: half of its box, IoU 1/2, agreement 1/2.
    column = SMALL & (np.arange(4) == 1)
    raw = {1: encode_rle(LARGE), 2: encode_rle(column)}
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
