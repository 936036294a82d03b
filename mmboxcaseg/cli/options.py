"""Options that several subcommands have."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmboxcaseg.images import ImageReader

# Those of mmboxcaseg.formats, which takes too long to import for a help.
MASK_FORMATS = (
    'coco-polygons', 'yolo-seg', 'voc-png', 'cityscapes-png', 'labelme', 'label-studio', 'rf-detr'
)  # fmt: skip


def add_network(parser: ArgumentParser) -> None:
    """CONFIG and CHECKPOINT, for :func:`mmboxcaseg.pretrained.or_shipped`."""
    parser.add_argument(
        'config', nargs='?', help='config of a BoxCaseg (the network that comes with the package)'
    )
    parser.add_argument('checkpoint', nargs='?', help='its checkpoint')


def add_img_root(parser: ArgumentParser, help: str, required: bool = True) -> None:
    """``--images``, as every command calls it; ``--img-root`` is what some called it before."""
    parser.add_argument(
        '--images',
        '--img-root',
        dest='img_root',
        type=Path,
        required=required,
        metavar='DIR',
        help=help,
    )


def add_amp_options(parser: ArgumentParser) -> None:
    """``--amp`` and ``--force-amp``, for :func:`mmboxcaseg.engine.device.choose_amp`."""
    parser.add_argument(
        '--amp',
        action='store_true',
        help='mixed precision: float16 on a GPU, bfloat16 on a CPU that has instructions for it; '
        'on other CPUs this changes nothing',
    )
    parser.add_argument(
        '--force-amp', action='store_true', help='--amp, even where a CPU must emulate bfloat16'
    )


def add_prediction_options(parser: ArgumentParser) -> None:
    """What predicting masks takes, whatever they are for, for :func:`prediction_settings`."""
    add_device_option(parser)
    parser.add_argument('--batch-size', type=int, default=32, help='boxes predicted at once')
    parser.add_argument(
        '--slack',
        type=float,
        help="how far a mask may leave its box, in parts of the box's width and height, at most "
        "the margin of the patches (the model's test_cfg.slack, or 0); each mask's own tight box "
        'is then its mask_bbox',
    )
    add_tta_option(parser)
    add_amp_options(parser)
    parser.add_argument(
        '--workers',
        type=int,
        default=2,
        help='threads that read images ahead of the network; more if it waits for large ones',
    )
    add_image_options(parser)


def prediction_settings(args: Namespace) -> dict[str, Any]:
    """All that was given, with what :func:`add_prediction_options` took as ``apis`` take it."""
    from mmboxcaseg.engine.device import choose_amp, default_device

    options = vars(args)
    options['device'] = args.device or default_device()
    options['amp'] = choose_amp(args.amp, options.pop('force_amp'), args.device)
    options['reader'] = given_reader(args)
    return options


def add_run_options(parser: ArgumentParser, example: str) -> None:
    """What a training and a test take, for :func:`run_settings`."""
    parser.add_argument('config', help='config file')
    parser.add_argument(
        '--work-dir', help='where logs and checkpoints go (work_dirs/ and the name of the config)'
    )
    add_amp_options(parser)
    add_config_options(parser, example)
    add_image_options(parser)
    add_launcher_option(parser, 'pytorch', 'slurm', 'mpi')


def run_settings(args: Namespace) -> dict[str, Any]:
    """All that was given, with what :func:`add_run_options` took as ``apis`` take it."""
    from mmengine.device import get_device

    from mmboxcaseg.engine.config import load_config, parse_options, set_work_dir
    from mmboxcaseg.engine.device import choose_amp
    from mmboxcaseg.engine.reading import set_reading

    options, path = vars(args), args.config
    options['config'] = load_config(path, parse_options(options.pop('cfg_options')))
    if reader := given_reader(args):
        set_reading(args.config, reader)
    set_work_dir(args.config, options.pop('work_dir'), path)
    options['amp'] = choose_amp(args.amp, options.pop('force_amp'), get_device())
    return options


def add_image_options(parser: ArgumentParser) -> None:
    """How images are read, for :func:`given_reader` and :func:`image_reader`."""
    parser.add_argument(
        '--exif',
        action='store_true',
        help='boxes and masks are of photographs turned as their EXIF data say (of the pixels as '
        'stored); to be given in every step',
    )
    parser.add_argument(
        '--max-pixels',
        type=int,
        metavar='N',
        help='refuse images of more pixels before they are decoded (268435456)',
    )
    parser.add_argument(
        '--bands',
        type=int,
        nargs=3,
        metavar='N',
        help='which bands of images of several are red, green and blue, from 1 on',
    )


def given_reader(args: Namespace) -> ImageReader | None:
    """Take what :func:`add_image_options` added out of the arguments; None if none is given."""
    from mmboxcaseg.images import ImageReader

    options = vars(args)
    given = {name: options.pop(name) for name in ('exif', 'max_pixels', 'bands')}
    # Not by equality: a limit of 0 was given too, and is refused.
    given = {key: value for key, value in given.items() if value is not None and value is not False}
    return ImageReader.of(**given) if given else None


def image_reader(args: Namespace) -> ImageReader:
    """Do what :func:`given_reader` does; by default pixels are read as they are stored."""
    from mmboxcaseg.images import DEFAULT_READER

    return given_reader(args) or DEFAULT_READER


def add_config_options(parser: ArgumentParser, example: str) -> None:
    """``--cfg-options``, for :func:`mmboxcaseg.engine.config.parse_options`."""
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help=f'override settings of the config, such as {example}',
    )


def add_launcher_option(parser: ArgumentParser, *launchers: str) -> None:
    """``--launcher``, which the scripts for several processes set."""
    parser.add_argument('--launcher', choices=['none', *launchers], default='none')


def add_mask_format_option(parser: ArgumentParser, name: str, **settings: Any) -> None:
    """The option of formats to write masks in."""
    parser.add_argument(
        name,
        choices=MASK_FORMATS,
        help='COCO with polygons, YOLO-seg, PNG maps of Pascal VOC or Cityscapes, LabelMe, brush '
        'predictions of Label Studio, or a data set folder of RF-DETR, each in a folder; what it '
        'loses is said',
        **settings,
    )


def add_cleaning_options(parser: ArgumentParser) -> None:
    """Options of the removal of stray fragments and the filling of pinholes."""
    parser.add_argument(
        '--min-part',
        type=float,
        default=0.0,
        metavar='SHARE',
        help='remove parts of a mask that are smaller than this share of its box, such as 0.01; '
        'the largest one stays (0: keep all)',
    )
    parser.add_argument(
        '--max-hole',
        type=float,
        default=0.0,
        metavar='SHARE',
        help='fill holes of at most this share of the box, such as 0.1; smaller objects get their '
        'pixels back in the merge (0: fill none)',
    )


def add_tta_option(parser: ArgumentParser) -> None:
    """``--tta``."""
    parser.add_argument(
        '--tta',
        action='store_true',
        help="test-time augmentation: average over all views of the config's tta_pipeline",
    )


def add_skip_option(parser: ArgumentParser, list_: str) -> None:
    """``--skip-bad``."""
    parser.add_argument(
        '--skip-bad',
        action='store_true',
        help='leave wrong entries out, such as broken or missing images and boxes outside their '
        f'images, and list them in {list_} (refuse the first); all images are read once more',
    )


def add_device_option(parser: ArgumentParser) -> None:
    """``--device``."""
    parser.add_argument(
        '--device', help='where the network runs, such as cpu or cuda:1 (the GPU if there is one)'
    )


def add_rounds_options(parser: ArgumentParser, example: str) -> None:
    """What training in rounds takes, for :func:`rounds_settings`; the number of rounds aside."""
    parser.add_argument(
        '--gpus', type=int, help='processes to train and test with (default: one for each GPU)'
    )
    parser.add_argument('--seed', type=int, help="in place of the configs' randomness.seed")
    add_amp_options(parser)
    parser.add_argument(
        '--keep-masks',
        action='store_true',
        help='annotations that have a true mask keep it, and are supervised by it',
    )
    add_config_options(parser, example)
    add_image_options(parser)
    parser.add_argument('--dry-run', action='store_true', help='print the commands that are left')


def rounds_settings(args: Namespace) -> dict[str, Any]:
    """All that was given, with what :func:`add_rounds_options` took as ``apis`` take it."""
    from mmengine.device import get_device

    from mmboxcaseg.engine.config import parse_options
    from mmboxcaseg.engine.device import choose_amp

    options = vars(args)
    options['options'] = parse_options(options.pop('cfg_options'))
    options['amp'] = choose_amp(args.amp, options.pop('force_amp'), get_device())
    options['reader'] = given_reader(args)
    return options
