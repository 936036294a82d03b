"""Parts are found by their scope from any default scope, without custom_imports."""

import json
import subprocess
import sys

import pytest
from mmengine import registry as roots
from mmengine.registry import DefaultScope, Registry

from mmboxcaseg import registry

PARTS = {
    'MODELS': 'BoxCaseg',
    'DATASETS': 'BoxInstanceDataset',
    'TRANSFORMS': 'BoxPatch',
    'DATA_SAMPLERS': 'RatioSampler',
    'METRICS': 'BoxMaskIoUMetric',
    'HOOKS': 'AtomicCheckpointHook',
    'FUNCTIONS': 'seed_worker',
    'OPTIM_WRAPPERS': 'AutocastOptimWrapper',
    'WEIGHT_INITIALIZERS': 'NormalInit',
}


def test_children_of_the_roots():
    names = {name for name, value in vars(registry).items() if isinstance(value, Registry)}
    assert {name for name in names if not name.startswith('ROOT_')} == PARTS.keys()
    for name in PARTS:
        child = getattr(registry, name)
        assert child.parent is getattr(roots, name)
        assert child.scope == 'mmboxcaseg'


def test_a_fresh_process_finds_parts_of_every_kind():
    code = f"""
import json
from mmengine import registry
registry.DefaultScope.get_instance('run', scope_name='mmdet')
parts = [getattr(registry, kind).get('mmboxcaseg.' + name) for kind, name in {PARTS}.items()]
print(json.dumps([[part.__name__, part.__module__.split('.')[0]] for part in parts]))"""
    command = [sys.executable, '-W', 'ignore', '-c', code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    assert found == [[name, 'mmboxcaseg'] for name in PARTS.values()]


@pytest.mark.parametrize('scope', ['mmdet', 'mmseg', 'mmengine', 'mmboxcaseg'])
def test_built_from_every_default_scope(scope):
    with DefaultScope.overwrite_default_scope(scope):
        head = roots.MODELS.build(dict(type='mmboxcaseg.PatchHead', in_channels=4))
        # And what is named with another scope in it is of that one.
        loss = registry.MODELS.build(dict(type='mmdet.DiceLoss'))
    assert type(head).__module__.startswith('mmboxcaseg.models')
    assert type(loss).__module__.startswith('mmdet.')
