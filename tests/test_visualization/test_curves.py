import json

import cv2
import numpy as np
import pytest

from mmboxcaseg.errors import InputError
from mmboxcaseg.visualization.curves import plot_curves, read_curves


def write_log(work_dir, timestamp, records):
    path = work_dir / timestamp / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    path.write_text('\n'.join(json.dumps(record) for record in records))


def training(step, epoch, loss):
    return dict(lr=0.1, data_time=0.0, time=0.1, loss=loss, epoch=epoch, iter=step, step=step)


def validation(epoch, miou):
    return {'fused/mIoU': miou, 'data_time': 0.0, 'time': 0.1, 'step': epoch}


def test_losses_are_means_over_epochs(tmp_path):
    write_log(
        tmp_path,
        '20260101_000000',
        [training(10, 1, 4.0), training(20, 1, 2.0), validation(1, 0.5), training(30, 2, 1.0)],
    )
    curves = read_curves(tmp_path)
    assert curves.unit == 'epoch'
    assert set(curves.losses) == {'loss'} and set(curves.metrics) == {'fused/mIoU'}
    np.testing.assert_array_equal(curves.losses['loss'], [[1, 3], [2, 1]])
    np.testing.assert_array_equal(curves.metrics['fused/mIoU'], [[1, 0.5]])


def test_a_resumed_run_replaces_what_it_repeats(tmp_path):
    write_log(
        tmp_path, '20260101_000000', [training(1, 1, 4.0), training(2, 2, 9.0), validation(2, 0.1)]
    )
    write_log(
        tmp_path, '20260101_000500', [training(2, 2, 2.0), validation(2, 0.6), training(3, 3, 1.0)]
    )
    curves = read_curves(tmp_path)
    np.testing.assert_array_equal(curves.losses['loss'], [[1, 4], [2, 2], [3, 1]])
    np.testing.assert_array_equal(curves.metrics['fused/mIoU'], [[2, 0.6]])


def test_training_by_iterations(tmp_path):
    records = [
        dict(lr=0.1, loss_mask=loss, iter=step, step=step) for step, loss in ((5, 3), (10, 1))
    ]
    write_log(tmp_path, '20260101_000000', records)
    curves = read_curves(tmp_path)
    assert curves.unit == 'iteration'
    np.testing.assert_array_equal(curves.losses['loss_mask'], [[5, 3], [10, 1]])


def test_a_half_written_last_line_is_skipped(tmp_path):
    write_log(tmp_path, '20260101_000000', [training(1, 1, 4.0), training(2, 2, 9.0)])
    log = tmp_path / '20260101_000000' / 'vis_data' / 'scalars.json'
    log.write_text(log.read_text()[:-5])
    np.testing.assert_array_equal(read_curves(tmp_path).losses['loss'], [[1, 4]])
    log.write_text('{"lr"\n' + log.read_text())
    with pytest.raises(InputError, match=f'line 1 of {log} is not JSON'):
        read_curves(tmp_path)


def test_a_folder_without_log_is_refused(tmp_path):
    with pytest.raises(InputError, match=str(tmp_path)):
        read_curves(tmp_path)


def test_plot_has_a_row_for_every_run(tmp_path):
    write_log(tmp_path / 'a', '20260101_000000', [training(1, 1, 4.0), validation(1, 0.1)])
    write_log(tmp_path / 'b', '20260101_000000', [training(1, 1, 4.0)])
    runs = {name: read_curves(tmp_path / name) for name in ('a', 'b')}
    plot_curves({'a': runs['a']}, tmp_path / 'one.png')
    plot_curves(runs, tmp_path / 'two.png')
    one, two = (cv2.imread(str(tmp_path / f'{name}.png')) for name in ('one', 'two'))
    assert two.shape[0] == 2 * one.shape[0]
    assert one.std() > 0
