"""The examples in docstrings give what they say."""

import doctest
from importlib import import_module
from inspect import isfunction
from pkgutil import walk_packages

import pytest

import mmboxcaseg

MODULES = sorted(module.name for module in walk_packages(mmboxcaseg.__path__, 'mmboxcaseg.'))


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    assert not doctest.testmod(import_module(name)).failed


@pytest.mark.parametrize('package', ['mmboxcaseg.proxy', 'mmboxcaseg.apis'])
def test_public_functions_have_an_example(package):
    module = import_module(package)
    functions = filter(isfunction, (getattr(module, name) for name in module.__all__))
    assert not [function.__name__ for function in functions if '>>> ' not in function.__doc__]
