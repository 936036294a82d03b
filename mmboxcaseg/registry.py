"""The package's registries: children of mmengine's root registries, scope ``mmboxcaseg``.

Being children of the roots, and not of mmdet's registries, they are found from every default
scope: ``type='mmboxcaseg.BoxCaseg'`` builds in any mmdet config without ``custom_imports``.
"""

from mmengine.registry import DATA_SAMPLERS as ROOT_DATA_SAMPLERS
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import FUNCTIONS as ROOT_FUNCTIONS
from mmengine.registry import HOOKS as ROOT_HOOKS
from mmengine.registry import METRICS as ROOT_METRICS
from mmengine.registry import MODELS as ROOT_MODELS
from mmengine.registry import OPTIM_WRAPPERS as ROOT_OPTIM_WRAPPERS
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS
from mmengine.registry import WEIGHT_INITIALIZERS as ROOT_WEIGHT_INITIALIZERS
from mmengine.registry import Registry

SCOPE = 'mmboxcaseg'


def _child(root: Registry, *modules: str) -> Registry:
    locations = [f'{SCOPE}.{module}' for module in modules]
    return Registry(root.name, parent=root, scope=SCOPE, locations=locations)


MODELS = _child(ROOT_MODELS, 'models')
DATASETS = _child(ROOT_DATASETS, 'datasets')
TRANSFORMS = _child(ROOT_TRANSFORMS, 'datasets.transforms')
DATA_SAMPLERS = _child(ROOT_DATA_SAMPLERS, 'datasets.samplers')
METRICS = _child(ROOT_METRICS, 'evaluation')
HOOKS = _child(ROOT_HOOKS, 'engine.hooks')
FUNCTIONS = _child(ROOT_FUNCTIONS, 'engine.hooks', 'models.data_preprocessors')
OPTIM_WRAPPERS = _child(ROOT_OPTIM_WRAPPERS, 'engine.optim')
WEIGHT_INITIALIZERS = _child(ROOT_WEIGHT_INITIALIZERS, 'models')
