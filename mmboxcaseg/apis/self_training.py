"""Training in rounds: proxy masks of each round teach the next one."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from mmengine.config import Config

from mmboxcaseg.engine.checks import check_data, check_slack
from mmboxcaseg.engine.config import dicts, load_config
from mmboxcaseg.engine.device import check_gpus
from mmboxcaseg.engine.reading import set_reading
from mmboxcaseg.engine.steps import Step, Trained, Training, launch
from mmboxcaseg.errors import InputError, check_count
from mmboxcaseg.fileio import check_output, write_bytes
from mmboxcaseg.images import ImageReader
from mmboxcaseg.pretrained import or_shipped

#: Of the rounds of :func:`adapt`.
ADAPT_CONFIG = 'prompted/prompted-boxcaseg_effnet-lite2-fine_1xb16-3e_adapt.py'

# Settings by which masks are predicted.
_PREDICTING = ('model', 'tta_model', 'tta_pipeline')


def self_train(
    configs: Sequence[str | Path],
    *,
    rounds: int | None = None,
    work_dir: str | Path = 'work_dirs/self_train',
    options: dict[str, Any] | None = None,
    gpus: int | None = None,
    seed: int | None = None,
    amp: bool = False,
    keep_masks: bool = False,
    dry_run: bool = False,
    reader: ImageReader | None = None,
) -> None:
    """Train in rounds.

    Each config but the first reads proxy masks of the round before it: where its
    ``BoxInstanceDataset`` has a ``proxy_file``, the round's own takes its place; and where it has a
    ``load_from``, the network of the round before it is trained on. If the first one reads proxy
    masks too, the round before it is the network that comes with the package. At the end the last
    round's network is scored, if its config has a ``val_dataloader``, and draws the masks that end
    up in ``proxy.json`` of the work dir, rated by all rounds. What is done is kept: called again,
    this goes on where it was.

    Args:
        configs: Config files of the rounds.
        rounds: How many there are; the last config is that of all further ones. By default as many
            as there are configs.
        work_dir: Where everything goes.
        options: Settings of all configs to override, by dotted key.
        gpus: Processes to train and test with; by default one for each GPU.
        seed: In place of the configs' ``randomness.seed``.
        amp: Whether everything runs in mixed precision.
        keep_masks: Whether annotations that have a true mask keep it among the proxy masks, with
            quality 1, and are supervised by it.
        dry_run: Whether to print the commands that are left, and run none.
        reader: How images are read; by default as the configs say.

    Raises:
        InputError: If a config or its data cannot be used, a round fails, or another call is at
            work on the folder.

    Example:
        >>> folder = 'configs/prompted/prompted-boxcaseg_effnet-lite2_'
        >>> self_train(
        ...     [folder + '1xb16-14e_coco-mini.py', folder + '1xb16-3e_coco-mini-proxies.py'],
        ...     rounds=3)  # doctest: +SKIP
    """
    gpus = _checked_gpus(gpus)
    rounds = len(configs) if rounds is None else rounds
    check_count('--rounds', rounds)
    if rounds < len(configs):
        raise InputError(f'--rounds {rounds}: there are {len(configs)} configs, of a round each')
    work_dir = Path(work_dir)
    paths = [*configs, *[configs[-1]] * (rounds - len(configs))]
    trainings = _plan(paths, work_dir, options or {}, seed, reader=reader)
    _run(trainings, _steps(trainings, work_dir, gpus, ['--force-amp'] * amp, keep_masks), dry_run)


def adapt(
    boxes: str | Path,
    images: str | Path,
    out: str | Path,
    *,
    config: str | Path = ADAPT_CONFIG,
    rounds: int = 1,
    options: dict[str, Any] | None = None,
    gpus: int | None = None,
    seed: int | None = None,
    amp: bool = False,
    keep_masks: bool = False,
    dry_run: bool = False,
    reader: ImageReader | None = None,
) -> None:
    """Go on from the network that comes with the package, with boxes alone.

    These are rounds of :func:`self_train` whose first one is that network: it draws masks into the
    boxes, is trained on with the good ones, and draws them again. Its own judgement of each object
    stays in the quality. What is done is kept: called again, this goes on where it was.

    Args:
        boxes: COCO file with boxes; its masks are not read unless they are kept.
        images: Folder of its images.
        out: Folder for ``proxy.json``, the boxes with their masks, and for the network,
            ``network.py`` and ``network.pth``, which are a config and its checkpoint, in half
            precision.
        config: Config of the rounds.
        rounds: How often it is trained on.
        options: Settings of the config to override, by dotted key.
        gpus: Processes to train with; by default one for each GPU.
        seed: In place of the config's ``randomness.seed``.
        amp: Whether everything runs in mixed precision.
        keep_masks: Whether annotations that have a true mask keep it among the proxy masks, with
            quality 1, and are supervised by it.
        dry_run: Whether to print the commands that are left, and run none.
        reader: How images are read; by default as the configs say.

    Raises:
        InputError: As :func:`self_train`.

    Example:
        >>> adapt('boxes.json', 'images', 'work_dirs/adapt')  # doctest: +SKIP
    """
    gpus = _checked_gpus(gpus)
    check_count('--rounds', rounds)
    out = Path(out)
    own = dict(data_root='', ann_file=str(boxes), data_prefix=dict(img=str(images)))
    trainings = _plan([config] * rounds, out, options or {}, seed, own, reader)
    last = trainings[-1]
    network = out / 'network.pth'
    steps = _steps(trainings, out, gpus, ['--force-amp'] * amp, keep_masks)
    publish = Step('weights', launch('publish-model', [last.checkpoint, network]), network)
    if not dry_run:
        check_output(out / 'proxy.json', inputs=[boxes])
    _run(trainings, chain(steps, [publish]), dry_run)
    if not dry_run:
        write_bytes(last.config.pretty_text.encode(), network.with_suffix('.py'))


def _checked_gpus(gpus: int | None) -> int:
    gpus = max(torch.cuda.device_count(), 1) if gpus is None else gpus
    check_gpus(gpus)
    return gpus


def _run(trainings: Iterable[Training], steps: Iterable[Step], dry_run: bool) -> None:
    """Do what is left, or only say it."""
    if not dry_run:
        for training in trainings:
            training.write_config()
    for step in steps:
        if step.done:
            continue
        if dry_run:
            print(shlex.join(step.command))
        else:
            print(f'== {step.output.parent}: {step.title}')
            step.run()


def _plan(
    paths: Sequence[str | Path],
    work_dir: Path,
    options: dict[str, Any],
    seed: int | None,
    boxes: dict[str, Any] | None = None,
    reader: ImageReader | None = None,
) -> list[Training]:
    """The trainings, with each other's proxy masks in their configs; what is wrong is told.

    With ``boxes``, these take the place of those that proxy masks are of.
    """
    rounds = []
    for number, path in enumerate(paths, start=1):
        training = Training(load_config(path, options), work_dir / f'round{number}')
        config = training.config
        if reader:
            set_reading(config, reader)
        if not config.get('tta_pipeline'):
            raise InputError(f'{path} has no tta_pipeline, through which proxy masks are predicted')
        check_slack(config, config.tta_pipeline)
        taught = _taught_datasets(config)
        if (rounds or boxes) and not taught:
            raise InputError(
                f'{path} is no later round: none of its training sets has a proxy_file'
            )
        if taught and not rounds:
            rounds.append(_shipped(work_dir / 'round0', options))
            if reader:
                set_reading(rounds[0].config, reader)
        for dataset in taught:
            dataset.pop('proxy_file')
            dataset.update(boxes or {})
        check_data(config, ('train', 'val', 'test') if config.val_dataloader else ('train',))
        for dataset in taught:
            dataset.proxy_file = str(_proxy_file(rounds[-1]))
        if rounds and config.get('load_from'):
            if _trained(config.model) != _trained(rounds[-1].config.model):
                raise InputError(
                    f'{path} trains the network of {rounds[-1].config.filename} on, but has '
                    'another model: give a config of the same, or one without load_from'
                )
            config.load_from = str(rounds[-1].checkpoint)
        if seed is not None:
            config.setdefault('randomness', {})['seed'] = seed
        rounds.append(training)
    return rounds


def _trained(model: dict[str, Any]) -> dict[str, Any]:
    """What of a model's config a training depends on."""
    return {key: value for key, value in model.items() if key != 'test_cfg'}


def _shipped(work_dir: Path, options: dict[str, Any]) -> Trained:
    """The network that comes with the package, in place of a first round."""
    path, weights = or_shipped(None, None)
    options = {key: value for key, value in options.items() if key.split('.')[0] in _PREDICTING}
    return Trained(load_config(path, options), work_dir, Path(weights))


def _steps(
    rounds: list[Training], work_dir: Path, gpus: int, amp: list[str], keep_masks: bool
) -> Iterator[Step]:
    """What has to run, in order; each is made when those before it have run."""
    generating = ['--tta', *amp, *['--keep-masks'] * keep_masks]
    for training, following in zip(rounds, [*rounds[1:], None], strict=True):
        train = training.train(gpus, *amp)
        masks = [Path(part.proxy_file) for part in _taught_datasets(training.config)]
        if not train.done and masks and masks[0].is_file():
            check_data(training.config, ('train',))  # whether any is good enough
        yield train
        if following is None and training.config.val_dataloader:
            yield training.test(gpus, '--tta', *amp)
        taught = _taught_datasets((following or training).config)
        if not taught:
            return
        yield training.generate(taught[0], _proxy_file(training), gpus, *generating)
    if len(rounds) > 1:
        out = work_dir / 'proxy.json'
        command = launch('combine-quality', [*map(_proxy_file, rounds), '--out', out])
        yield Step('their quality', command, out)


def _proxy_file(training: Training) -> Path:
    return training.work_dir / 'proxy.json'


def _taught_datasets(config: Config) -> list[dict[str, Any]]:
    """The training sets that have a proxy file."""
    return [part for part in dicts(config.train_dataloader) if part.get('proxy_file')]
