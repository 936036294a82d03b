import json
import tracemalloc

import numpy as np
import pytest

from mmboxcaseg.errors import InputError
from mmboxcaseg.proxy import packed
from mmboxcaseg.proxy.coco import annotations_by_image, load_coco, wants_mask
from mmboxcaseg.proxy.packed import ImageGroups, PackedList, load_packed_coco

COCO = dict(
    info=dict(note='a "quoted" ] } \\ , é 日本 \U0001f600', none=None, flag=True),
    images=[
        dict(id=7, file_name='é.jpg', width=40, height=30, extra=[1, [2, {}]]),
        dict(id='b', file_name='b.jpg', width=40, height=30),
        dict(id=3, file_name='c.jpg', width=40, height=30),
    ],
    annotations=[
        dict(segmentation=[[1, 2.5, 3]], id=5, image_id=3, category_id=1, bbox=[0, 0, 1.25e1, 9]),
        dict(id='x', image_id=7, category_id=1, bbox=[1, 2, 3, 4], iscrowd=1),
        dict(id=6, image_id=3, category_id=1, bbox=[0, 0, 0, 4], big=10**30),
        dict(id=9, image_id=7, category_id=1, bbox=[1, 2, 3, 4], nan=float('inf')),
    ],
    categories=[dict(id=1, name='ü')],
    empty=[],
    number=12345,
)


def unpacked(coco):
    return {k: list(v) if isinstance(v, PackedList) else v for k, v in coco.items()}


@pytest.mark.parametrize('chunk', [1, 2, 3, 7, 50, 1 << 20])
@pytest.mark.parametrize('dumps', [dict(), dict(ensure_ascii=False, indent=2)])
def test_reads_what_load_coco_reads_but_masks(tmp_path, monkeypatch, chunk, dumps):
    monkeypatch.setattr(packed, '_CHUNK', chunk)
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(COCO, **dumps) + ' \n', encoding='utf-8')
    coco = load_packed_coco(path)
    expected = load_coco(path)
    expected['annotations'][0]['segmentation'] = None
    assert unpacked(coco) == expected
    assert list(coco) == list(expected)
    assert list(coco['annotations'][0]) == list(expected['annotations'][0])


@pytest.mark.parametrize(
    'text',
    [
        *('', '{', '[]', '[1, 2]', '7', '{"images": []} x', '{"images": [}', '{7: 8}', '{"a" 1}'),
        *(
            '{"images": {}}',
            '{"images": "text"}',
            '{"images": [1]}',
            '{"images": [{}]}',
            '{"a": 1,}',
        ),
        *('{"images": [] "annotations": []}', '{}', '{"images": [{"id": 1}', '{"images": [1 2]}'),
        *('{"images": [{"id": 1, "file_name": "a"}]}', '\ufeff{}', '{"images": [tru'),
        '{"images": [], "annotations": [], "categories": [{"id": 1, "name": 7}]}',
        '{"images": [], "annotations": [{"id": 1, "image_id": 1}], "categories": []}',
    ],
)
def test_refuses_what_load_coco_refuses(tmp_path, text):
    path = tmp_path / 'coco.json'
    path.write_text(text, encoding='utf-8')
    with pytest.raises(InputError) as expected:
        load_coco(path)
    with pytest.raises(InputError) as error:
        load_packed_coco(path)
    assert str(error.value) == str(expected.value)


def test_refuses_other_bytes_and_no_file(tmp_path):
    (tmp_path / 'coco.json').write_bytes(b'{"a": "\xff"}')
    with pytest.raises(InputError, match='is not JSON'):
        load_packed_coco(tmp_path / 'coco.json')
    with pytest.raises(InputError, match='cannot read .*none.json'):
        load_packed_coco(tmp_path / 'none.json')


def test_groups_are_those_of_the_file(tmp_path):
    path = tmp_path / 'coco.json'
    path.write_text(json.dumps(COCO))
    coco = load_packed_coco(path)
    groups = ImageGroups(coco)
    expected = annotations_by_image(unpacked(coco))
    assert len(groups) == 3
    for index, image in enumerate(coco['images']):
        assert groups.image(index) == image
        assert groups.annotations(index) == expected[image['id']]
        assert groups.num_boxes[index] == sum(map(wants_mask, expected[image['id']]))
    assert groups.order.tolist() == [1, 3, 0, 2]
    assert [groups.span(0, 1), groups.span(1, 2), groups.span(0, 3)] == [
        *(slice(0, 2), slice(2, 2), slice(0, 4)),
    ]


def test_packed_list_is_a_list():
    entries = [dict(number=number) for number in range(5)]
    packed_list = PackedList(iter(entries))
    assert len(packed_list) == 5
    assert list(packed_list) == entries
    assert packed_list[4] == entries[4]
    with pytest.raises(IndexError):
        packed_list[5]
    assert len(PackedList([])) == 0


def test_memory_is_that_of_the_boxes_not_of_the_masks(tmp_path, monkeypatch):
    monkeypatch.setattr(packed, '_CHUNK', 10_000)
    count = 3000
    polygon = np.arange(200.0).tolist()
    annotations = [
        dict(id=i, image_id=1, category_id=1, bbox=[0, 0, 9, 9], segmentation=[polygon])
        for i in range(count)
    ]
    image = dict(id=1, file_name='a', width=9, height=9)
    path = tmp_path / 'coco.json'
    content = dict(images=[image], annotations=annotations, categories=[dict(id=1, name='a')])
    path.write_text(json.dumps(content))
    tracemalloc.start()
    load_packed_coco(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400 * count < path.stat().st_size / 3
