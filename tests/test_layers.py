"""What may import what: a part of the package imports only from parts below its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# From the top. Parts of one line stand side by side and do not import each other. Tests and
# benchmarks alone have use for `testing`.
LAYERS = [
    ('tools', 'benchmarks'),
    ('testing', '__main__'),
    ('cli',),
    ('converters',),
    ('apis',),
    ('engine',),
    ('evaluation', 'formats'),
    ('visualization', 'datasets', 'models'),
    ('coco',),
    ('proxy',),
    ('pretrained',),
    ('images',),
    ('fileio', 'ops'),
    ('archives',),
    ('errors', 'registry'),
]
LEVELS = {part: level for level, parts in enumerate(reversed(LAYERS)) for part in parts}
# What the package itself has, its version and the paths of its configs, is for every part. It
# brings only what provides mmcv's ops.
OF_THE_PACKAGE = {'errors', 'ops'}


def imported(source: str, module: str, is_package: bool) -> set[str]:
    """Names that a module imports anywhere in its code, with dots, from the package's on."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            parents = module.split('.')[: (is_package - node.level) or None] if node.level else []
            base = '.'.join([*parents, *filter(None, [node.module])])
            names |= {f'{base}.{alias.name}' for alias in node.names}
    return {name for name in names if name.split('.')[0] in ('mmboxcaseg', 'tools', 'benchmarks')}


def part_of(name: str) -> str:
    """The part that a dotted name is of, or '' for the package's own names."""
    first, *rest = name.split('.')
    if first != 'mmboxcaseg':
        return first
    return rest[0] if rest and rest[0] in LEVELS else ''


def modules():
    for folder in ('mmboxcaseg', 'tools', 'benchmarks'):
        for path in sorted((ROOT / folder).rglob('*.py')):
            parts = path.relative_to(ROOT).with_suffix('').parts
            if parts[:2] != ('mmboxcaseg', 'configs'):
                is_package = parts[-1] == '__init__'
                yield path, '.'.join(parts[: len(parts) - is_package]), is_package


def test_every_part_of_the_package_has_a_layer():
    parts = {module.removeprefix('mmboxcaseg.').split('.')[0] for _, module, _ in modules()}
    assert parts == {*LEVELS, 'mmboxcaseg'}


def test_no_module_imports_from_above_it():
    wrong = []
    for path, module, is_package in modules():
        part = part_of(module)
        for name in imported(path.read_text(), module, is_package):
            other = part_of(name)
            if not other or other == part:
                continue
            allowed = LEVELS[other] < LEVELS[part] if part else other in OF_THE_PACKAGE
            if not allowed:
                wrong.append(f'{module} imports {name}')
    assert not wrong


@pytest.mark.parametrize(
    ('source', 'expected'),
    [
        ('import mmboxcaseg.apis', {'mmboxcaseg.apis'}),
        ('from mmboxcaseg import apis, cli', {'mmboxcaseg.apis', 'mmboxcaseg.cli'}),
        ('def f():\n    from mmboxcaseg.apis.training import train',
         {'mmboxcaseg.apis.training.train'}),
        ('from . import b', {'mmboxcaseg.coco.b'}),
        ('from .b import c', {'mmboxcaseg.coco.b.c'}),
        ('from ..apis import train', {'mmboxcaseg.apis.train'}),
        ('import numpy', set()),
    ],
)  # fmt: skip
def test_imports_are_found(source, expected):
    assert imported(source, 'mmboxcaseg.coco.a', is_package=False) == expected
    if source.startswith('from .'):
        module = 'mmboxcaseg.coco'
        assert imported(source, module, is_package=True) == expected
