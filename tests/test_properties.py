"""What must hold of any input: pure functions against NumPy, readers against what is no file."""

import copy
import json
import os

import numpy as np
import pytest

pytest.importorskip('hypothesis', reason='pip install hypothesis, which is in the extra test')

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from mmboxcaseg.coco.annotations import parse_coco
from mmboxcaseg.coco.checks import check_bboxes, check_true_masks
from mmboxcaseg.coco.groups import ImageGroups
from mmboxcaseg.coco.proxies import load_proxies
from mmboxcaseg.coco.results import load_results
from mmboxcaseg.errors import InputError, shown
from mmboxcaseg.fileio import check_inside
from mmboxcaseg.proxy import box_agreement, decode_rle, encode_rle, merge_rles, read_rles

# The same examples each time: a test that fails fails for everybody.
few = settings(derandomize=True, max_examples=60, deadline=None, database=None)
sides = st.integers(1, 12)
shapes = st.tuples(sides, sides)
masks = shapes.flatmap(lambda shape: arrays.arrays(bool, shape))


@st.composite
def objects(draw):
    """Masks (N, H, W) and boxes (N, 4) of an image; few sizes of boxes, so that some are equal."""
    height, width = draw(shapes)
    count = draw(st.integers(1, 6))
    stack = draw(arrays.arrays(bool, (count, height, width)))
    corners = draw(arrays.arrays(np.int64, (count, 2), elements=st.integers(0, 4)))
    corners %= (width, height)  # they begin in the image
    sizes = draw(arrays.arrays(np.int64, (count, 2), elements=st.integers(1, 3)))
    return stack, np.concatenate([corners, corners + sizes], axis=1)


@few
@given(masks)
def test_masks_come_back(mask):
    rle = encode_rle(mask)
    assert (decode_rle(rle, mask.shape) == mask).all()
    assert read_rles([rle], mask.shape) == [rle]
    # Counts as whole numbers, found by walking down the columns.
    runs, last = [0], False
    for pixel in mask.ravel(order='F').tolist():
        if pixel != last:
            runs.append(0)
            last = pixel
        runs[-1] += 1
    assert read_rles([dict(size=list(mask.shape), counts=runs)], mask.shape) == [rle]


@few
@given(
    shapes, st.one_of(st.text(max_size=12), st.text('0123456789:;<=>?@ABCOPQ_`abnop', max_size=6))
)
def test_any_text_is_a_mask_or_refused(shape, text):
    try:
        (rle,) = read_rles([dict(size=list(shape), counts=text)], shape)
    except ValueError:
        return
    assert encode_rle(decode_rle(rle, shape)) == rle


@few
@given(objects())
def test_merging_is_what_it_says(given):
    stack, bboxes = given
    areas = (bboxes[:, 2] - bboxes[:, 0]) * (bboxes[:, 3] - bboxes[:, 1])
    expected = np.zeros_like(stack)
    for y, x in np.ndindex(stack.shape[1:]):
        claims = [(areas[n], n) for n in range(len(stack)) if stack[n, y, x]]
        if claims:
            expected[min(claims)[1], y, x] = True
    merged = merge_rles([encode_rle(mask) for mask in stack], bboxes)
    assert merged == [encode_rle(mask) for mask in expected]


@few
@given(objects())
def test_agreement_is_the_iou_of_tight_box_and_box(given):
    stack, bboxes = given
    for mask, bbox, agreement in zip(stack, bboxes, box_agreement(stack, bboxes), strict=True):
        inside = np.zeros(mask.shape, bool)  # a box counts as far as it lies in the image
        inside[bbox[1] : bbox[3], bbox[0] : bbox[2]] = True
        tight = np.zeros(mask.shape, bool)
        ys, xs = np.nonzero(mask)
        if len(ys):
            tight[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1] = True
        assert agreement == pytest.approx((inside & tight).sum() / (inside | tight).sum())


@few
@given(st.text(), st.integers(10, 200))
def test_text_is_shown_in_one_line(text, longest):
    line = shown(text, longest)
    assert line.isprintable()
    assert len(line) <= 10 * longest + 20
    if text.isprintable() and len(text) <= longest:
        assert line == text


@few
@given(
    st.lists(st.sampled_from(['..', '.', 'in', 'a.png', 'link', '', 'x\0']), max_size=6),
    st.booleans(),
)
def test_no_name_leads_out_of_a_folder(tmp_path_factory, parts, is_absolute):
    root = tmp_path_factory.getbasetemp() / 'inside'
    if not root.exists():
        (root / 'img' / 'in').mkdir(parents=True)
        (root / 'img' / 'link').symlink_to('..')
        (root / 'img' / 'a.png').touch()
        (root / 'a.png').touch()
    name = '/' * is_absolute + '/'.join(parts)
    try:
        check_inside(root / 'img', name, 'image 1')
    except InputError:
        return
    if os.path.isfile(root / 'img' / name):
        assert os.path.realpath(root / 'img' / name) == str(root / 'img' / 'a.png')


COCO = dict(
    images=[dict(id=1, file_name='a.png', width=6, height=4)],
    annotations=[
        dict(
            id=1, image_id=1, category_id=1, bbox=[0, 0, 3, 3], segmentation=[[0, 0, 3, 0, 3, 3]],
            area=9, iscrowd=0, quality=0.5, box_agreement=0.5,
        )
    ],
    categories=[dict(id=1, name='cat')],
)  # fmt: skip
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just(10**40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
fields = sorted({(key, field) for key, rows in COCO.items() for field in rows[0]})


@settings(few, max_examples=200)
@given(st.sampled_from(fields), values)
def test_any_value_in_a_coco_file_is_read_or_refused(tmp_path_factory, field, value):
    content = copy.deepcopy(COCO)
    content[field[0]][0][field[1]] = value
    path = tmp_path_factory.getbasetemp() / 'any.json'
    path.write_text(json.dumps(content))
    for read in (load_proxies, read_groups):
        try:
            read(path)
        except InputError as error:
            assert str(error).isprintable()


def read_groups(path):
    coco = parse_coco(path.read_bytes(), path)
    check_bboxes(coco)
    check_true_masks(coco)
    ImageGroups(coco, keep_masks=True)


@few
@given(
    values
    | st.dictionaries(st.sampled_from(['image_id', 'ann_id', 'bbox', 'segmentation']), values)
)
def test_any_results_file_is_read_or_refused(tmp_path_factory, value):
    path = tmp_path_factory.getbasetemp() / 'results.json'
    for content in (value, [value]):
        path.write_text(json.dumps(content))
        try:
            load_results(path)
        except InputError as error:
            assert str(error).isprintable()


@few
@given(st.binary(max_size=40))
def test_any_bytes_are_no_traceback(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / 'bytes.json'
    path.write_bytes(data)
    for read in (load_proxies, load_results):
        with pytest.raises(InputError):
            read(path)
