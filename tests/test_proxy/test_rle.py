import tracemalloc

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from mmboxcaseg.proxy import (
    MOST_PIXELS,
    Edges,
    check_segmentation,
    decode_rle,
    empty_rle,
    encode_edges,
    encode_rle,
    read_edges,
    read_rles,
    rle_areas,
    rle_bboxes,
    tight_bboxes,
    window_edges,
)


def released(mask):
    """The RLE that pycocotools writes of the whole image."""
    rle = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    return dict(size=rle['size'], counts=rle['counts'].decode())


def draw_masks(seed, count):
    """Masks of all sizes: noise, rectangles with a hole, empty and full ones."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        height, width = rng.integers(1, 40, 2)
        mask = rng.random((height, width)) > rng.choice([0, 0.1, 0.5, 0.9, 1])
        if index % 2:
            (x1, x2), (y1, y2) = np.sort(rng.integers(0, [[width], [height]], (2, 2)), axis=1)
            mask[:] = False
            mask[y1 : y2 + 1, x1 : x2 + 1] = True
            mask[(y1 + y2) // 2, (x1 + x2) // 2] = False
        yield mask


def test_encode_rle_is_what_coco_reads():
    mask = np.array([[0, 1, 1], [1, 0, 0]], bool)
    rle = encode_rle(mask)
    assert rle['size'] == [2, 3]
    assert isinstance(rle['counts'], str)
    assert coco_mask.decode(rle).tolist() == mask.astype(int).tolist()


def test_encode_rle_empty():
    rle = encode_rle(np.zeros((2, 3), bool))
    assert coco_mask.area(rle) == 0
    assert isinstance(rle['counts'], str)


@pytest.mark.parametrize(
    'segmentation',
    [
        # Column by column: 0, 1; 1, 0; 1, 0.
        dict(size=[2, 3], counts=[1, 2, 1, 1, 1]),
        encode_rle(np.array([[0, 1, 1], [1, 0, 0]])),
        coco_mask.encode(np.asfortranarray([[0, 1, 1], [1, 0, 0]], np.uint8)),
    ],
    ids=['uncompressed', 'str', 'bytes'],
)
def test_decode_rle(segmentation):
    mask = decode_rle(segmentation, (2, 3))
    assert mask.dtype == bool
    assert mask.astype(int).tolist() == [[0, 1, 1], [1, 0, 0]]


def test_decode_rle_polygons():
    polygons = [[0, 0, 2, 0, 2, 2, 0, 2], [3, 3, 4, 3, 4, 4, 3, 4]]
    expected = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1]]
    assert decode_rle(polygons, (4, 4)).astype(int).tolist() == expected


def test_rle_round_trip():
    large = np.zeros((1500, 1200), bool)
    large[7:1400, 1:1199] = True
    for mask in [*draw_masks(0, 300), large, ~large]:
        assert encode_rle(mask) == released(mask)
        assert (decode_rle(encode_rle(mask), mask.shape) == mask).all()
        assert (decode_rle(released(mask), mask.shape) == mask).all()


def test_empty_rle():
    assert empty_rle((3, 5)) == released(np.zeros((3, 5)))


def test_windows_of_images():
    rng = np.random.default_rng(0)
    for count in [0, *range(1, 40)]:
        windows = list(draw_masks(count, count))
        corners, images = [], []
        for window in windows:
            # Some of full height: their runs go on from one column to the next.
            top, below, left, right = rng.integers(0, 4, 4) * ([rng.integers(3) > 0] * 2 + [1, 1])
            corners.append((left, top))
            images.append(np.pad(window, ((top, below), (left, right))))
        shapes = [image.shape for image in images]
        edges = window_edges(windows, corners, shapes)
        if count:
            assert encode_edges(edges, shapes) == [released(image) for image in images]
        parts = np.split(edges.positions, edges.counts.cumsum())
        for image, part in zip(images, parts, strict=False):
            flat = image.ravel(order='F')
            inside = np.zeros(flat.size, bool)
            for begin, end in part.reshape(-1, 2):
                inside[begin:end] = True
            assert (inside == flat).all()
            assert (np.diff(part) > 0).all()


def with_zero_runs(runs, rng):
    """Other runs of the same pixels: some split by a run of no pixels."""
    split = []
    for run in runs:
        part = int(rng.integers(run + 1))
        split += [part, 0, run - part] if rng.random() < 0.3 else [run]
    return split


def with_padding(runs):
    """The runs compressed, each of them in as many characters as it may have."""
    text = ''
    for index, run in enumerate(runs):
        value = run - runs[index - 2] if index > 2 else run
        chars = [(value >> shift) & 31 for shift in range(0, 30, 5)]
        text += ''.join(chr(48 + bits + 32 * (place < 5)) for place, bits in enumerate(chars))
    return text


def test_read_rles_writes_them_one_way():
    rng = np.random.default_rng(0)
    for seed in range(30):
        shape = tuple(rng.integers(1, 30, 2).tolist())
        masks = [rng.random(shape) > share for share in rng.random(8)] + [np.ones(shape, bool)]
        expected = [released(mask) for mask in masks]
        given = []
        for kind, (mask, rle) in enumerate(zip(masks, expected, strict=True)):
            bounds = np.flatnonzero(np.diff(mask.ravel(order='F'), prepend=0, append=2))
            runs = np.diff(bounds, prepend=0).tolist()
            zeros = with_zero_runs(runs, rng)
            given.append(
                [
                    rle,
                    dict(size=shape, counts=rle['counts'].encode()),
                    dict(size=list(shape), counts=runs),
                    dict(size=list(shape), counts=zeros),
                    coco_mask.frPyObjects(dict(size=shape, counts=zeros), *shape),
                    dict(size=list(shape), counts=with_padding(runs)),
                    dict(size=list(shape), counts=with_padding(zeros)),
                ][(kind + seed) % 7]
            )
        assert read_rles(given, shape) == expected
        for one, rle in zip(given, expected, strict=True):
            assert read_rles([one], shape) == [rle]
    assert read_rles([], (3, 4)) == []


def test_sixteen_pixels_less_than_the_run_before_the_last():
    # The difference of the fourth run to the second, -16, is '@', or '`O' with its sign again.
    rle = coco_mask.frPyObjects(dict(size=(7, 6), counts=[3, 20, 15, 4]), 7, 6)
    text = rle['counts'].decode()
    assert text.endswith('@')
    padded = dict(size=[7, 6], counts=text[:-1] + '`O')
    assert read_rles([padded], (7, 6)) == [dict(size=[7, 6], counts=text)]


def test_read_rles_of_polygons():
    rng = np.random.default_rng(0)
    for _ in range(100):
        polygons = [rng.uniform(-5, 30, 2 * rng.integers(3, 8)).tolist() for _ in range(2)]
        (rle,) = read_rles([polygons], (20, 25))
        mask = coco_mask.decode(coco_mask.merge(coco_mask.frPyObjects(polygons, 20, 25)))
        assert rle == released(mask)


def test_what_is_read_off_rles():
    for mask in draw_masks(2, 300):
        # Beside another, as the runs of several masks are read together.
        rles = [released(mask), released(~mask)]
        assert (rle_bboxes(rles) == tight_bboxes(np.stack([mask, ~mask]))).all()
        assert_edges_equal(read_edges(rles, [mask.shape] * 2), [mask, ~mask])
    assert rle_bboxes([]).shape == (0, 4)
    assert_edges_equal(read_edges([], []), [])


def assert_edges_equal(edges, masks):
    expected = window_edges(masks, np.zeros((len(masks), 2)), [mask.shape for mask in masks])
    for part, other in zip(edges, expected, strict=True):
        assert part.tolist() == other.tolist()


def test_read_edges_of_several_images():
    masks = list(draw_masks(3, 20))
    read = read_edges([released(mask) for mask in masks], [mask.shape for mask in masks])
    assert_edges_equal(read, masks)
    with pytest.raises(ValueError, match='do not add up to the 6 pixels'):
        read_edges([released(np.ones((2, 2))), dict(size=[2, 3], counts='11')], [(2, 2), (2, 3)])


#: A square image of the most pixels.
LARGEST = (23170, 23170)


def test_run_lengths_of_the_largest_image_are_read_back():
    pixels = LARGEST[0] * LARGEST[1]
    assert MOST_PIXELS - 2 * LARGEST[0] < pixels <= MOST_PIXELS
    bounds = [[], [0, pixels], [1, 2, pixels - 2, pixels - 1], [0, 1], [0, pixels - 1]]
    bounds.append([pixels - 3, pixels - 2, pixels - 1, pixels])
    counts = np.array([len(one) for one in bounds])
    edges = Edges(np.array([b for one in bounds for b in one], np.int64), counts)
    rles = encode_edges(edges, [LARGEST] * len(bounds))
    read = read_edges(rles, [LARGEST] * len(bounds))
    assert read.positions.tolist() == edges.positions.tolist()
    assert read.counts.tolist() == counts.tolist()
    # pycocotools reads the same.
    assert coco_mask.area(rles).tolist() == [0, pixels, 2, 1, pixels - 1, 2]


@pytest.mark.parametrize('shape', [(23171, 23171), (70_000, 70_000), (1, 2**29), (10**30, 10**30)])
def test_larger_images_are_refused(shape):
    nothing = Edges(np.zeros(0, np.int64), np.zeros(1, np.int64))
    empty = dict(size=list(shape), counts='4')
    for write in (empty_rle, lambda shape: encode_edges(nothing, [shape])):
        with pytest.raises(ValueError, match='its image of .* cut the image into parts'):
            write(shape)
    for read in (lambda s: read_edges([empty], [s]), lambda s: read_rles([empty], s)):
        with pytest.raises(ValueError, match='its image of .* cut the image into parts'):
            read(shape)


def zigzag(count, far):
    """An outline that goes to and fro, farther than the image."""
    return [edge for i in range(count) for edge in (far if i % 2 else -far, i % 128)]


@pytest.mark.parametrize(
    'polygons',
    [[zigzag(200_000, 1270)], [zigzag(1_000_000, 1270)], [zigzag(2000, 1270)] * 5],
    ids=['of 200,000 corners', 'of a million corners', 'five'],
)
def test_outlines_that_would_take_all_memory_are_refused(polygons):
    with pytest.raises(ValueError, match='pixels long, which no object needs'):
        read_rles([polygons], (128, 128))
    with pytest.raises(ValueError, match='pixels long, which no object needs'):
        check_segmentation(polygons, (128, 128))


def test_an_outline_of_many_corners_within_the_image():
    angles = np.linspace(0, 2 * np.pi, 200_000, endpoint=False)
    circle = np.stack([64 + 50 * np.cos(angles), 64 + 50 * np.sin(angles)], axis=1)
    mask = decode_rle([circle.ravel().tolist()], (128, 128))
    y, x = np.mgrid[:128, :128] + 0.5
    distance = np.hypot(x - 64, y - 64)
    assert mask[distance < 49].all() and not mask[distance > 51].any()


def test_a_run_of_one_mask_does_not_make_room_in_all():
    """One mask of many runs beside many of few: their runs lie in no table."""
    noise = np.zeros((400, 400), bool)
    noise[::2] = True
    one = np.zeros((400, 400), bool)
    one[7, 9] = True
    rles = [encode_rle(noise)] + [encode_rle(one)] * 20_000
    tracemalloc.start()
    edges = read_edges(rles, [(400, 400)] * len(rles))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert edges.counts[:3].tolist() == [2 * 400 * 200, 2, 2]
    # A table of 80,000 runs for each would take 12 GB.
    assert peak < 100e6


@pytest.mark.parametrize(
    'segmentation',
    [
        [],
        [[1, 2, 3, 4]],
        [[[1, 2], [3, 4], [5, 6], [7, 8], [9, 1], [2, 3]]],
        [[[1, 2], [3, 4], [5, 6], [7, 8], [9, 1], 2]],
        [['0', '0', '2', '0', '2', '2']],
        [[0, 0, 2, 0, 2, None]],
        [[1, 2, 3, 4, 5, 6, 7]],
        dict(counts='04'),
        dict(size=[2, 2], counts=[2, 2]),
        dict(size=[2, 3], counts=[2, 2]),
        dict(size=[2, 3], counts=[5, 5]),
        dict(size=[2, 3], counts=[8, -2]),
        dict(size=[2, 3], counts=''),
        dict(size=[2, 3], counts='11'),
        dict(size=[2, 3], counts='zzz'),
        dict(size=[2, 3], counts='06\u00e9'),
        dict(size=[2, 3], counts='06P'),
        dict(size=[2, 3], counts=b'\xff'),
        dict(size=[2, 3], counts=5),
        dict(size=[2, 3], counts=None),
        dict(size=[2, 3], counts=['a']),
        dict(size=[2, 3], counts=[0.5, 5.5]),
        dict(size=None, counts='06'),
        dict(size=6, counts='06'),
        [[0, 0, 2, 0, 2, float('nan')]],
        [[0, 0, 2, 0, 2, float('inf')]],
        [[0, 0, 2, 0, 2, 1e12]],
        [[0, 0, 2, 0, 2, 10**400]],
        [[0, 0, 2, 0, 2, 'a']],
        'a mask',
        None,
    ],
)
def test_decode_rle_refuses(segmentation):
    with pytest.raises(ValueError, match='its|polygon|neither'):
        decode_rle(segmentation, (2, 3))


@pytest.mark.parametrize(('size', 'is_turned'), [([3, 2], True), ([3, 3], False)])
def test_a_mask_of_the_turned_photograph_is_told(size, is_turned):
    with pytest.raises(ValueError, match='its size is') as error:
        check_segmentation(dict(size=size, counts='06'), (2, 3))
    assert ('EXIF' in str(error.value)) == is_turned


def test_areas_of_more_masks_than_pycocotools_counts_at_once():
    rle = encode_rle(np.array([[1, 0], [1, 1]]))
    assert rle_areas([rle] * 300) == [3] * 300
    assert rle_areas([]) == []


@pytest.mark.parametrize(
    ('segmentation', 'message'),
    [
        ([5, 5, 9, 5, 9, 9], r'no list of polygons: write \[\[x1, y1'),
        ([[[5, 5], [9, 5], [9, 9]]], r'a list of lists: write \[x1, y1'),
        ([[5, 5, 9, 9]], 'a polygon has 4 numbers, not x and y'),
        (None, 'there are neither polygons nor'),
        ([[5, 5, 9, 5, 9, 9, 7]], 'a polygon has 7 numbers, not x and y'),
        # Rows of the image; of the object alone, or of the image turned.
        ([[0, 255, 255, 0, 255, 0]] * 2, 'a bitmap as lists of rows'),
        ([[0, 255, 255, 0, 255, 0]] * 3, 'a bitmap as lists of rows'),
        # Of 2 x 6 pixels, each partly of the object.
        ([[0, 0.5, 1, 1, 0.25, 0], [0, 0, 1, 0.75, 0, 0]], 'a bitmap as lists of rows'),
        ([[0, 0, 0.5, 0, 0.5, 1]], 'its polygons lie between 0 and 1'),
    ],
)
def test_lists_that_are_no_polygons_are_told_apart(segmentation, message):
    with pytest.raises(ValueError, match=message):
        check_segmentation(segmentation, (2, 6))


def test_two_polygons_of_the_corners_of_an_image_are_no_bitmap():
    square = [[0, 0, 255, 0, 255, 255, 0, 255], [0, 0, 255, 0, 255, 255, 0, 0]]
    assert decode_rle(square, (255, 255)).all()
    # A pixel in the corner of an image, by two polygons of several lengths.
    pixel = [[0, 0, 1, 0, 1, 1], [0, 0, 1, 0, 1, 1, 0, 1]]
    assert decode_rle(pixel, (3, 4)).sum() == 1
    # And one that is drawn within the image's first four pixels, with parts of pixels.
    assert decode_rle([[0.2, 0.2, 1.9, 0.2, 1.9, 1.9, 0.2, 1.9]], (3, 4)).any()
