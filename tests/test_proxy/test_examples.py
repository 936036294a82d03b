"""Each public function has an example; tests/test_doctests.py runs them."""

import inspect
from importlib import import_module
from pkgutil import iter_modules

import pytest

import mmboxcaseg.proxy

MODULES = [module.name for module in iter_modules(mmboxcaseg.proxy.__path__, 'mmboxcaseg.proxy.')]


@pytest.mark.parametrize('name', MODULES)
def test_public_functions_have_an_example(name):
    functions = {
        key: function
        for key, function in inspect.getmembers(import_module(name), inspect.isfunction)
        if function.__module__ == name and not key.startswith('_')
    }
    assert functions
    assert [key for key, function in functions.items() if '>>>' not in function.__doc__] == []
