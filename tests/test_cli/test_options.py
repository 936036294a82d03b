"""What options become before a function gets them."""

from argparse import ArgumentParser

import pytest

from mmboxcaseg.cli import options
from mmboxcaseg.errors import InputError
from mmboxcaseg.images import ImageReader


@pytest.mark.parametrize(
    ('add', 'settings'),
    [
        (options.add_prediction_options, options.prediction_settings),
        (lambda parser: options.add_rounds_options(parser, 'a=1'), options.rounds_settings),
    ],
)
@pytest.mark.parametrize('words', [['--amp'], ['--amp', '--force-amp'], []])
def test_half_precision_is_for_cpus_that_have_it(monkeypatch, add, settings, words):
    monkeypatch.setattr('mmboxcaseg.engine.device.default_device', lambda: 'cpu')
    monkeypatch.setattr('mmengine.device.get_device', lambda: 'cpu')
    parser = ArgumentParser()
    parser.add_argument('boxes')
    add(parser)
    for has, amp in ((False, '--force-amp' in words), (True, bool(words))):
        monkeypatch.setattr('mmboxcaseg.engine.device.has_bfloat16', lambda has=has: has)
        given = settings(parser.parse_args(['boxes.json', *words]))
        # The function that gets them has no parameter for what was decided here.
        assert given['boxes'] == 'boxes.json' and not {'force_amp', 'cfg_options'} & {*given}
        assert given['amp'] is amp


def test_a_device_that_is_given_stays():
    parser = ArgumentParser()
    options.add_prediction_options(parser)
    given = options.prediction_settings(parser.parse_args(['--device', 'cuda:1', '--amp']))
    assert given['device'] == 'cuda:1' and given['amp'] is True


def test_how_images_are_read_is_what_was_given():
    parser = ArgumentParser()
    options.add_image_options(parser)
    reader = options.image_reader(parser.parse_args(['--exif', '--bands', '3', '2', '1']))
    assert reader == ImageReader(exif=True, bands=(3, 2, 1))
    assert options.given_reader(parser.parse_args([])) is None
    with pytest.raises(InputError, match='max_pixels must be a whole number of at least 1, not 0'):
        options.image_reader(parser.parse_args(['--max-pixels', '0']))
