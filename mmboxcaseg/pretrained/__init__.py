"""The network that comes with the package: whoever predicts without naming another gets it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import NamedTuple, TypeVar

from mmboxcaseg import config_path
from mmboxcaseg.errors import InputError

Config = TypeVar('Config')


class Network(NamedTuple):
    """A network whose weights lie in this folder."""

    name: str
    #: For :func:`mmboxcaseg.config_path`.
    config: str
    #: What ``mmboxcaseg publish-model`` wrote, and the SHA-256 that it printed.
    file: str
    sha256: str
    #: Of its training.
    seed: int


SHIPPED = Network(
    name='prompted-boxcaseg_effnet-lite2-fine',
    config='prompted/prompted-boxcaseg_effnet-lite2-fine_1xb16-1e_coco-mini-proxies.py',
    file='prompted-boxcaseg_effnet-lite2-fine.pth',
    sha256='bf555554522065284a1550a669dd942ec395121c5527bc4360a72be4e5e3fdf3',
    seed=2,
)


def weights_path(network: Network = SHIPPED) -> Path:
    """Path of a network's weights, which are those that its record means.

    Args:
        network: The network.

    Returns:
        The absolute path.

    Raises:
        InputError: If the file is missing or has another SHA-256.

    Example:
        >>> weights_path().name == SHIPPED.file
        True
    """
    path = Path(__file__).with_name(network.file)
    try:
        found = hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        found = error.strerror
    if found != network.sha256:
        raise InputError(
            f'the weights that come with mmboxcaseg, {path}, are not those of {network.name} '
            f'({found}): reinstall the package'
        )
    return path


def or_shipped(
    config: Config | None, checkpoint: str | Path | None
) -> tuple[Config | str, str | Path]:
    """A config and a checkpoint to predict with: those given, or those of the shipped network.

    Args:
        config: A config file, a loaded config, or None.
        checkpoint: Its checkpoint, or None.

    Returns:
        Both.

    Raises:
        InputError: If one is given without the other, or the shipped weights are damaged.

    Example:
        >>> or_shipped('config.py', 'epoch_1.pth')
        ('config.py', 'epoch_1.pth')
    """
    if config is None and checkpoint is None:
        return config_path(SHIPPED.config), weights_path()
    if config is None or checkpoint is None:
        raise InputError(
            f'a {"config" if config is None else "checkpoint"} is missing: give both CONFIG and '
            'CHECKPOINT, or leave both out for the network that comes with the package'
        )
    return config, checkpoint
