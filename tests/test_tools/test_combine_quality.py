import json
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / 'tools' / 'combine_quality.py'


def proxies(*qualities, mask='0T1'):
    annotations = [
        dict(
            id=number,
            image_id=1,
            category_id=1,
            bbox=[number, 0, 2, 2],
            segmentation=dict(size=[4, 9], counts=mask),
            quality=quality,
        )
        for number, quality in enumerate(qualities, start=1)
    ]
    return dict(
        images=[dict(id=1, file_name='a.png', width=9, height=4)],
        categories=[dict(id=1, name='cat')],
        annotations=annotations,
    )


@pytest.fixture
def combine(run, tmp_path, monkeypatch):
    """Write files of proxy masks and combine their quality."""
    monkeypatch.chdir(tmp_path)

    def call(*contents, out='out.json'):
        names = [f'{number}.json' for number in range(1, len(contents) + 1)]
        for name, content in zip(names, contents, strict=True):
            Path(name).write_text(json.dumps(content))
        return run(*names, '--out', out)

    return call


def test_geometric_mean_and_the_last_masks(combine):
    last = proxies(0.9, 1.0, mask='1S1')
    # A crowd has no quality and stays as it is.
    crowd = dict(last['annotations'][0], id=7, iscrowd=1)
    del crowd['quality']
    last['annotations'].insert(0, crowd)
    earlier = proxies(0.4, 0.25)
    earlier['annotations'].reverse()
    code, out, err = combine(earlier, last)
    assert code == 0, err
    assert out == 'out.json: 2 masks, rated by 2 rounds\n'
    result = json.loads(Path('out.json').read_text())
    assert [a.get('quality') for a in result['annotations']] == [
        None,
        pytest.approx(0.6),
        pytest.approx(0.5),
    ]
    for annotation, expected in zip(result['annotations'], last['annotations'], strict=True):
        annotation['quality'] = expected['quality'] = None
        assert annotation == expected


def without(key):
    content = proxies(0.5, 0.5)
    del content['annotations'][1][key]
    return content


def changed(**fields):
    content = proxies(0.5, 0.5)
    content['annotations'][1].update(fields)
    return content


@pytest.mark.parametrize(
    ('contents', 'reason'),
    [
        ([proxies(0.5)], 'give the proxy masks of at least two rounds'),
        (
            [proxies(0.5), proxies(0.5, 0.5)],
            'annotation 2 of 2.json is not in 1.json, or has another image',
        ),
        (
            [changed(bbox=[0, 0, 1, 1]), proxies(0.5, 0.5)],
            'annotation 2 of 2.json is not in 1.json',
        ),
        (
            [without('quality'), proxies(0.5, 0.5)],
            'annotation 2 of 1.json has no quality, so it may be a true mask',
        ),
        (
            [changed(quality=1.5), proxies(0.5, 0.5)],
            'annotation 2 of 1.json has quality 1.5, not a number in [0, 1]',
        ),
        (
            [proxies(0.5, 0.5), changed(quality='good')],
            "annotation 2 of 2.json has quality 'good', not a number in [0, 1]",
        ),
    ],
)
def test_bad_files_are_refused(combine, contents, reason):
    code, _, err = combine(*contents)
    assert code == 2
    assert reason in err and len(err.strip().splitlines()) == 1
    assert not Path('out.json').exists()


def test_inputs_are_not_overwritten(combine):
    code, _, err = combine(proxies(0.5), proxies(0.5), out='1.json')
    assert code == 2
    assert '1.json is an input file' in err
