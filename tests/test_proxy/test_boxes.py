import numpy as np
import pytest

from mmboxcaseg.proxy import (
    bbox_areas,
    bbox_iou,
    bboxes_in_window,
    grow_bboxes,
    inclusive_bboxes,
    mask_windows,
    pairwise_iou,
    pixel_bboxes,
    tight_bboxes,
)


@pytest.mark.parametrize(
    ('bbox', 'expected'),
    [
        pytest.param([1, 2, 5, 6], [1, 2, 5, 6], id='on the grid already'),
        pytest.param([1.4, 2.6, 5.4, 6.6], [1, 3, 5, 7], id='nearest'),
        pytest.param([0.5, 1.5, 2.5, 3.5], [1, 2, 3, 4], id='halves go up'),
        pytest.param([-3, -2.5, 4, 5], [0, 0, 4, 5], id='clipped at the start'),
        pytest.param([4, 5, 20, 20], [4, 5, 10, 8], id='clipped at the end'),
        pytest.param([3.1, 3.1, 3.3, 3.3], [3, 3, 4, 4], id='at least one pixel'),
        pytest.param([9.8, 7.9, 10, 8], [9, 7, 10, 8], id='one pixel in the last corner'),
        pytest.param([-5, -5, -1, -1], [0, 0, 1, 1], id='outside'),
        # 100.3 + 0.2 is below 100.5 in float64; mmdet holds 100.5.
        pytest.param([1, 1, 5, 5.3 + 0.2 - 1e-12], [1, 1, 5, 6], id='float32 as in mmdet'),
    ],
)
def test_pixel_bboxes(bbox, expected):
    result = pixel_bboxes(np.array([bbox]), (8, 10))
    assert result.dtype == np.int64
    assert result.tolist() == [expected]


def test_pixel_bboxes_empty():
    assert pixel_bboxes(np.zeros((0, 4)), (8, 10)).shape == (0, 4)


@pytest.mark.parametrize(
    ('bbox', 'slack', 'expected'),
    [
        pytest.param([3.4, 2.6, 7.4, 5.4], 0, [3, 3, 7, 5], id='none'),
        pytest.param([3.4, 2.6, 7.4, 5.4], 0.25, [2, 2, 8, 6], id='of 4 and 2 pixels, halves up'),
        pytest.param([3.4, 2.6, 7.4, 5.4], 0.2, [2, 3, 8, 5], id='0.8 and 0.4 of a pixel'),
        pytest.param([1, 3, 5, 7], 0.5, [0, 1, 7, 8], id='cut at the border'),
        pytest.param([6, 1, 12, 4], 1, [2, 0, 10, 7], id='of the part in the image'),
        pytest.param([-4, -4, 30, 30], 1, [0, 0, 10, 8], id='the whole image'),
        pytest.param([3.1, 3.1, 3.3, 3.3], 0.4, [3, 3, 4, 4], id='one pixel, not grown'),
    ],
)
def test_mask_windows(bbox, slack, expected):
    result = mask_windows(np.array([bbox]), (8, 10), slack)
    assert result.dtype == np.int64
    assert result.tolist() == [expected]


def test_mask_windows_of_several_images():
    bboxes, shapes = np.array([[1, 1, 5, 5], [1, 1, 5, 5]]), [(8, 10), (6, 5)]
    assert mask_windows(bboxes, shapes, 0.5).tolist() == [[0, 0, 7, 7], [0, 0, 5, 6]]


def test_without_slack_a_mask_has_the_pixels_of_its_box():
    rng = np.random.default_rng(0)
    bboxes = rng.uniform(-20, 60, (500, 4))
    assert (mask_windows(bboxes, (40, 48)) == pixel_bboxes(bboxes, (40, 48))).all()


def test_a_margin_shows_every_slack_up_to_it():
    rng = np.random.default_rng(0)
    bboxes = rng.uniform(-20, 60, (500, 4))
    pixels = pixel_bboxes(bboxes, (40, 48))
    for margin in (0, 0.08, 0.15, 0.25, 1):
        shown = grow_bboxes(pixels, margin)
        for share in (0.5, 0.99, 1):
            windows = mask_windows(bboxes, (40, 48), share * margin)
            assert (windows[:, :2] >= shown[:, :2]).all()
            assert (windows[:, 2:] <= shown[:, 2:]).all()


@pytest.mark.parametrize(
    ('xywh', 'expected'),
    [
        pytest.param([1, 2, 4, 4], [1, 2, 6, 7], id='a pixel wider and higher'),
        pytest.param([1.9, 2.9, 4.9, 4.9], [1, 2, 6, 7], id='corner and size are cut'),
        pytest.param([5, 5, 5, 3], [5, 5, 11, 9], id='may leave the image'),
        pytest.param([-1.5, -0.5, 3, 3], [-1, 0, 3, 4], id='cut towards zero'),
        pytest.param([3, 3, 0.5, 1], [3, 3, 4, 5], id='less than a pixel'),
    ],
)
def test_inclusive_bboxes(xywh, expected):
    result = inclusive_bboxes(np.array([[*xywh[:2], xywh[0] + xywh[2], xywh[1] + xywh[3]]]))
    assert result.dtype == np.int64
    assert result.tolist() == [expected]


def test_inclusive_bboxes_survive_rounding():
    # The hundredths of COCO, for which x + w - x is often a little less than w.
    x = np.arange(0, 640, 0.37)
    bboxes = np.stack([x, x, x + 3, x + 7], axis=1)
    assert (bboxes[:, 2] - bboxes[:, 0] < 3).any()
    for given in (bboxes, bboxes.astype(np.float32)):
        sizes = inclusive_bboxes(given)[:, 2:] - inclusive_bboxes(given)[:, :2]
        assert (sizes == [4, 8]).all()


def test_inclusive_bboxes_empty():
    assert inclusive_bboxes(np.zeros((0, 4))).shape == (0, 4)


def test_tight_bboxes():
    masks = np.array(
        [
            [[0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 0]],
            [[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
            [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]],
            [[0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]],
        ]
    )
    expected = [[1, 1, 3, 3], [0, 0, 0, 0], [0, 0, 4, 4], [3, 0, 4, 1]]
    assert tight_bboxes(masks.astype(bool)).tolist() == expected
    assert tight_bboxes(masks.astype(np.uint8)).tolist() == expected


def test_tight_bboxes_no_masks():
    assert tight_bboxes(np.zeros((0, 4, 4), bool)).shape == (0, 4)


def test_bbox_areas():
    bboxes = [[0, 0, 2, 3], [1, 1, 1, 5], [5, 5, 3, 3]]
    assert bbox_areas(bboxes).tolist() == [6, 0, 0]


@pytest.mark.parametrize(
    ('bbox1', 'bbox2', 'expected'),
    [
        ([0, 0, 4, 4], [0, 0, 4, 4], 1),
        ([0, 0, 4, 4], [2, 2, 6, 6], 4 / 28),
        ([0, 0, 4, 4], [4, 0, 8, 4], 0),
        ([0, 0, 4, 4], [6, 6, 8, 8], 0),
        ([1, 1, 1, 1], [1, 1, 1, 1], 0),
    ],
)
def test_bbox_iou(bbox1, bbox2, expected):
    assert bbox_iou([bbox1], [bbox2]).tolist() == [expected]
    assert pairwise_iou([bbox1, bbox1], [bbox2]).tolist() == [[expected], [expected]]


def test_bbox_iou_counts_pixels():
    rng = np.random.default_rng(0)
    starts = rng.integers(0, 6, (2, 50, 2))
    bboxes1, bboxes2 = np.concatenate([starts, starts + rng.integers(1, 7, starts.shape)], axis=2)

    def filled(bbox):
        canvas = np.zeros((12, 12), bool)
        canvas[bbox[1] : bbox[3], bbox[0] : bbox[2]] = True
        return canvas

    expected = [
        [(filled(a) & filled(b)).sum() / (filled(a) | filled(b)).sum() for b in bboxes2]
        for a in bboxes1
    ]
    np.testing.assert_allclose(pairwise_iou(bboxes1, bboxes2), expected)
    np.testing.assert_allclose(bbox_iou(bboxes1, bboxes2), np.diag(expected))


def test_pixel_bboxes_of_several_images():
    rng = np.random.default_rng(0)
    bboxes, shapes = rng.uniform(-5, 30, (9, 4)), rng.integers(1, 25, (9, 2)).tolist()
    alone = [pixel_bboxes(bbox, shape)[0] for bbox, shape in zip(bboxes, shapes, strict=True)]
    assert (pixel_bboxes(bboxes, shapes) == alone).all()


def test_bboxes_in_window():
    # A window of 10 x 5 pixels, shown twice as large.
    found = bboxes_in_window([[4, 2, 8, 6], [2, 2, 12, 7], [0, 8, 3, 9]], [2, 2, 12, 7], (10, 20))
    assert found.tolist() == [[4, 0, 12, 8], [0, 0, 20, 10], [-4, 12, 2, 14]]
