"""The examples in docstrings; each public function has one."""

import doctest
import inspect
from importlib import import_module
from pkgutil import iter_modules

import pytest

PACKAGES = ('mmboxcaseg.proxy',)
MODULES = [
    f'{package}.{module.name}'
    for package in PACKAGES
    for module in iter_modules(import_module(package).__path__)
]


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    module = import_module(name)
    functions = [
        (key, value)
        for key, value in inspect.getmembers(module, inspect.isfunction)
        if value.__module__ == name and not key.startswith('_')
    ]
    assert functions
    assert [key for key, value in functions if '>>>' not in value.__doc__] == []
    assert doctest.testmod(module).failed == 0
