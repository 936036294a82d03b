"""The examples in docstrings give what they say."""

import doctest
from importlib import import_module
from pkgutil import walk_packages

import pytest

import mmboxcaseg

MODULES = sorted(module.name for module in walk_packages(mmboxcaseg.__path__, 'mmboxcaseg.'))


@pytest.mark.parametrize('name', MODULES)
def test_examples(name):
    assert not doctest.testmod(import_module(name)).failed
