import numpy as np
import pytest

from mmboxcaseg.proxy import IGNORED, denoise_masks, ignore_disagreement

#: A box of rows 0 to 1 and columns 1 to 3 of a 3x4 image, six pixels.
BBOX = np.array([[1, 0, 4, 2]])
CASES = {
    'outside is cut off': (['1111', '0111', '1111'], ['0111', '0111', '0000']),
    'half of the box is enough': (['0011', '0010', '0000'], ['0011', '0010', '0000']),
    'less than half': (['0011', '0000', '1111'], ['0111', '0111', '0000']),
    'nothing': (['0000', '0000', '1000'], ['0111', '0111', '0000']),
}


def read(rows):
    return np.array([[[int(value) for value in row] for row in rows]])


@pytest.mark.parametrize('case', CASES)
def test_denoise_masks(case):
    mask, expected = map(read, CASES[case])
    denoised = denoise_masks(mask, BBOX)
    assert denoised.dtype == np.uint8 and (denoised == expected).all()
    assert (denoise_masks(mask.astype(bool), BBOX) == expected).all()


@pytest.mark.parametrize(('min_iou', 'filled'), [(0.3, False), (1 / 3, False), (0.34, True)])
def test_least_share_of_the_box(min_iou, filled):
    mask = read(['0011', '0000', '0000'])
    expected = read(['0111', '0111', '0000']) if filled else mask
    assert (denoise_masks(mask, BBOX, min_iou) == expected).all()


def test_ignore_disagreement():
    mask = read(['0011', '0010', '0000'])
    before = mask.copy()
    expected = read(['0911', '0919', '0000'])
    expected[expected == 9] = IGNORED
    assert (ignore_disagreement(mask, BBOX) == expected).all()
    assert (mask == before).all()


def test_each_mask_by_its_own_box():
    masks = np.ones((2, 2, 2), bool)
    bboxes = np.array([[0, 0, 1, 2], [1, 0, 2, 1]])
    assert denoise_masks(masks, bboxes).tolist() == [[[1, 0], [1, 0]], [[0, 1], [0, 0]]]
    none = np.zeros((0, 2, 2)), np.zeros((0, 4))
    assert denoise_masks(*none).shape == ignore_disagreement(*none).shape == (0, 2, 2)
