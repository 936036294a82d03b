"""Files of every format that were made to do harm: refused in a sentence, or read."""

import json

import cv2
import numpy as np
import pytest

from mmboxcaseg.errors import InputError
from mmboxcaseg.formats import read_boxes

HEAD = 'filename,class,xmin,ymin,xmax,ymax,width,height\n'
XML = (
    '<annotation><filename>a.png</filename><size><width>{}</width><height>20</height></size>'
    '</annotation>'
)
ENTITIES = ''.join(f'<!ENTITY {chr(98 + i)} "{f"&{chr(97 + i)};" * 10}">' for i in range(10))
ALIASES = ''.join(f'x{i + 1}: &x{i + 1} [{", ".join([f"*x{i}"] * 9)}]\n' for i in range(9))


def rectangle(**changes):
    value = dict(rectanglelabels=['cat'], x=10, y=25, width=50, height=50) | changes
    result = dict(id='r', type='rectanglelabels', value=value)
    return json.dumps([dict(data=dict(image='a.png'), annotations=[dict(result=[result])])])


@pytest.mark.parametrize(
    ('name', 'text', 'message'),
    [
        (
            'a.csv',
            f'{HEAD}a.png,{"x" * 200_000},1,2,3,4,40,20\n',
            'a.csv is no CSV after its line 1: field larger',
        ),
        ('b.csv', f'{"x" * 200_000},filename\n', 'b.csv is no CSV after its line 0: field larger'),
        (
            'c.csv',
            f'{HEAD}../a\x1b.png\0,x,1,2,3,4,40,20\n',
            r'image ../a\\x1b.png\\x00 of .* does',
        ),
        ('d.csv', f'{HEAD}{"d/" * 2100}e.png,x,1,2,3,4,40,20\n', 'does not exist'),
        (
            'entities.xml',
            f'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">{ENTITIES}]>'
            '<annotation><filename>&k;</filename></annotation>',
            'cannot be read as XML',
        ),
        (
            'file.xml',
            '<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]>'
            '<annotation><filename>&a;</filename></annotation>',
            'cannot be read as XML',
        ),
        ('deep.xml', '<annotation>' * 50_000 + '</annotation>' * 50_000, 'is no Pascal VOC'),
        ('inf.xml', XML.format('inf'), r"inf.xml has the size \['20', 'inf'\], not two numbers"),
        ('a/data.yaml', f'x0: &x0 [a]\n{ALIASES}names: *x9\n', "has no 'names' of the classes"),
        ('b/data.yaml', 'names: &a [*a]\n', "has no 'names' of the classes"),
        ('c/data.yaml', 'names: ' + '[' * 1500, 'data.yaml .*'),
        ('d/data.yaml', 'names: {.inf: cat}', "has no 'names' of the classes"),
        (
            'e/data.yaml',
            'names: !!python/object/apply:os.abort []',
            'cannot be read as YAML in line 1: could not determine a constructor',
        ),
        ('f.json', '{"shapes": ' + '[' * 100_000, 'f.json is '),
        (
            'v.csv',
            'filename,region_shape_attributes\na.png,' + '[' * 9999,
            'v.csv is no annotation',
        ),
        ('a.json', '[' * 100_000, 'is no JSON export of Label Studio'),
        ('b.json', '{"images": ' * 100_000, 'is nested far deeper than a COCO annotation file'),
        ('c.json', rectangle(x='10'), 'is no JSON export of Label Studio'),
        ('d.json', rectangle(width=1e308), 'annotation 1 of .* has bbox'),
        (
            'e.json',
            json.dumps(dict(images=[], annotations=[], categories=[dict(id=1, name=[])])),
            r'category 1 of .* has name \[\], not a string',
        ),
    ],
)
def test_hostile_file_is_refused(tmp_path, name, text, message):
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.png'), np.zeros((20, 40, 3), np.uint8))
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    with pytest.raises(InputError, match=message) as error:
        read_boxes(path, tmp_path / 'images')
    assert str(error.value).isprintable() and len(str(error.value)) < 1700


@pytest.mark.parametrize('width', ['²', '9' * 5000, '-40', '4e1'])
def test_a_width_that_is_no_number_is_not_compared(tmp_path, width):
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.png'), np.zeros((20, 40, 3), np.uint8))
    path = tmp_path / 'boxes.csv'
    path.write_text(f'{HEAD}a.png,cat,1,2,3,4,{width},20\n')
    assert len(read_boxes(path, tmp_path / 'images').coco.annotations) == 1
