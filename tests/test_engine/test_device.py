import pytest

from mmboxcaseg.engine.device import check_device
from mmboxcaseg.errors import InputError


def test_check_device():
    check_device('cpu')
    for name in ('gpu', 'cuda:77', ''):
        with pytest.raises(InputError, match=f"device '{name}' is not available here"):
            check_device(name)
