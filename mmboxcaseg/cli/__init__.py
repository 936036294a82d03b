"""The command ``mmboxcaseg``, whose subcommands are ``tools/*.py`` too.

A module has one subcommand: ``add_arguments`` says what it takes, ``main`` does it, and the
docstring's first line is what ``--help`` says. Where one function does all the work, options have
the names of its parameters. Only the module of the subcommand that is called is imported, and
what takes long to import only in its ``main``: help comes at once.
"""

from __future__ import annotations

import sys
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module

import mmboxcaseg
from mmboxcaseg.errors import run_tool, shown

#: Modules of the subcommands and what each is for, in the order of the work.
COMMANDS = {
    'masks': ('masks', 'your boxes, of any format, to masks and a Mask R-CNN to train'),
    'train': ('train', 'train a model from a config'),
    'test': ('test', 'score a checkpoint'),
    'generate': ('generate', 'give every box of a COCO file a mask'),
    'refine': ('refine', 'merge raw masks from anywhere and rate them'),
    'self-train': ('self_train', 'train in rounds: proxy masks of each teach the next'),
    'adapt': ('adapt', 'go on from the network that comes with the package, with boxes alone'),
    'combine-quality': ('combine_quality', 'rate proxy masks by the judgement of several rounds'),
    'baseline-masks': ('baseline_masks', 'boxes, ellipses or GrabCut as raw masks'),
    'detector-masks': ('detector_masks', 'masks of a trained detector in given boxes'),
    'draw': ('draw', 'draw the best and worst masks of a file or a network'),
    'report': ('report', 'show the masks of a file on an HTML page'),
    'review': ('review', 'the masks of the lowest quality to people to correct'),
    'merge-back': ('merge_back', 'what they corrected among the others, as true masks'),
    'score': ('score', 'score proxy masks against true ones'),
    'plot-curves': ('plot_curves', 'draw training curves'),
    'convert masks': ('convert_masks', 'masks to polygons, YOLO-seg, PNG maps, LabelMe and others'),
    'convert voc-sbd': ('convert_voc_sbd', 'VOC 2012 with SBD to COCO files'),
    'convert duts-single': ('convert_duts_single', 'DUTS to images with one object'),
    'convert coco-mini': ('convert_coco_mini', 'a small set drawn from COCO'),
    'convert duts-mini': ('convert_duts_mini', 'a small set drawn from DUTS'),
    'convert released': ('convert_released', "the authors' checkpoints to ours"),
    'publish-model': ('publish_model', 'a checkpoint to weights alone, in half precision'),
    'export': ('export', 'a network to ONNX, to run without this package'),
    'toy': ('toy', 'draw a synthetic data set'),
    'check-leakage': ('check_leakage', 'search for images that are in two data sets'),
    'env': ('env', 'what is installed, what computes and what is missing'),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command.

    Args:
        arguments: Words of the command line after ``mmboxcaseg``; by default the process's own.

    Raises:
        SystemExit: With code 2 if the words are wrong or what they name cannot be used, and with 0
            after ``--help`` and ``--version``.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for name, (module, _) in COMMANDS.items():
        words = name.split()
        if arguments[: len(words)] == words:
            run(module, arguments[len(words) :], f'mmboxcaseg {name}')
            return
    width = max(map(len, COMMANDS))
    lines = [f'  {name:{width}}  {summary}' for name, (_, summary) in COMMANDS.items()]
    parser = ArgumentParser(
        'mmboxcaseg',
        usage='%(prog)s COMMAND ...',
        description='Instance masks from boxes, for MMDetection.',
        epilog='commands; each says more with --help:\n' + '\n'.join(lines),
        formatter_class=RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=mmboxcaseg.__version__)
    parser.add_argument('command', choices=[*COMMANDS], metavar='COMMAND', help='what to do')
    words = arguments[: 2 if arguments[:1] == ['convert'] else 1]
    flags = [word for word in words if word.startswith('-')]
    parser.parse_args(flags or [' '.join(words)] * bool(words))


def run(module: str, arguments: Sequence[str] | None = None, program: str | None = None) -> None:
    """Run a subcommand.

    Args:
        module: Name of its module.
        arguments: Words of its command line; by default the process's own.
        program: What the help calls it; by default the name of the script.

    Raises:
        SystemExit: As in :func:`main`.
    """
    command = import_module(f'mmboxcaseg.cli.{module}')
    parser = ArgumentParser(program, description=command.__doc__.split('\n\n')[0])
    command.add_arguments(parser)
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    _check_options(parser, arguments)
    # Intermixed: options may stand between words that may be left out.
    goes_on = getattr(command, 'GOES_ON', '')
    run_tool(lambda: command.main(parser.parse_intermixed_args(arguments)), goes_on)


def _check_options(parser: ArgumentParser, arguments: Sequence[str]) -> None:
    """End where an option is mistyped; argparse would name one that is missing, or say no more."""
    known = [option for option in parser._option_string_actions if option.startswith('--')]
    words = arguments[: arguments.index('--')] if '--' in arguments else arguments
    for word in words:
        name = word.split('=')[0]
        if not name.startswith('--') or ' ' in word or any(o.startswith(name) for o in known):
            continue
        near = get_close_matches(name, known, n=1)
        hint = f': did you mean {near[0]}?' if near else ''
        parser.error(f'there is no option {shown(name)}{hint}')
