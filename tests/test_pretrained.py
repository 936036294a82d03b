import re
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mmengine.config import Config

from mmboxcaseg import config_path
from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.apis.self_training import ADAPT_CONFIG
from mmboxcaseg.engine.checkpoint import load_checkpoint_file
from mmboxcaseg.engine.config import load_config
from mmboxcaseg.errors import InputError
from mmboxcaseg.pretrained import SHIPPED, or_shipped, weights_path
from mmboxcaseg.proxy import expected_iou

ROOT = Path(__file__).parents[1]


def test_shipped_weights_are_half_precision_and_small():
    path = weights_path()
    assert path.stat().st_size < 20e6
    checkpoint = load_checkpoint_file(path)
    assert checkpoint.keys() == {'meta', 'state_dict'}
    dtypes = {value.dtype for value in checkpoint['state_dict'].values()}
    assert dtypes <= {torch.float16, torch.int64} and torch.float16 in dtypes


def test_init_model_without_arguments_has_the_shipped_weights():
    model = init_model()
    assert model.cfg.filename.endswith(SHIPPED.config) and not model.training
    assert model.exclusive
    checkpoint = load_checkpoint_file(weights_path())
    weights, trained = checkpoint['state_dict'], Config.fromstring(checkpoint['meta']['cfg'], '.py')
    # It belongs to these weights.
    assert model.calibration == tuple(trained.model.test_cfg.calibration)
    for name, value in model.state_dict().items():
        assert value.dtype in (torch.float32, torch.int64)
        torch.testing.assert_close(value, weights[name].to(value.dtype), rtol=0, atol=0)


def test_views_have_a_calibration_of_their_own():
    image, bboxes = np.full((48, 64, 3), 90, np.uint8), np.array([[8.0, 8, 40, 40]])
    image[10:38, 10:38] = 220
    for tta, slope, offset in ((False, 0.887, -0.641), (True, 0.848, -0.429)):
        predictor = BoxCasegPredictor(init_model(), tta=tta)
        samples = predictor.predict_packed(list(predictor.pack(image, bboxes)))
        assert samples[0].calibration == (slope, offset)
        ((mask, quality),) = predictor.masks_of(samples)
        raw = expected_iou(samples[0].pred_maps.fused[0].numpy(), mask.threshold)
        odds = (raw / (1 - raw)) ** slope * np.exp(offset)
        assert quality == pytest.approx(odds / (1 + odds))


def test_adapt_asks_for_what_the_rounds_before_it_did():
    # 0.75 of the network's own expectation, as `adapt` rates masks, with views.
    config = load_config(config_path(ADAPT_CONFIG))
    slope, offset = config.tta_model.calibration
    odds = 3**slope * np.exp(offset)
    min_quality = config.train_dataloader.dataset.dataset.min_quality
    assert min_quality == pytest.approx(odds / (1 + odds), abs=0.03)


def test_it_finds_a_disc():
    y, x = np.mgrid[:96, :128]
    true = (x - 70) ** 2 + (y - 44) ** 2 < 30**2
    image = np.where(true[..., None], (40, 90, 220), (90, 110, 80)).astype(np.uint8)
    predictor = BoxCasegPredictor(init_model())
    predictor.set_image(image)
    (mask,), _ = predictor.predict([[41, 15, 100, 74]])
    assert (mask & true).sum() / (mask | true).sum() > 0.9
    # Of two boxes that lie on each other one gets all pixels.
    masks, quality = predictor.predict([[41, 15, 100, 74]] * 2, merge=True)
    assert sorted(masks.any(axis=(1, 2))) == [False, True]
    assert quality[masks.any(axis=(1, 2))] > 0.5 and quality[~masks.any(axis=(1, 2))] == 0


@pytest.mark.parametrize('change', [dict(file='nothing.pth'), dict(sha256='0' * 64)])
def test_missing_and_other_weights_are_refused(change):
    network = SHIPPED._replace(**change)
    with pytest.raises(InputError, match=f'{re.escape(network.file)}, .*: reinstall the package$'):
        weights_path(network)


def test_config_and_checkpoint_come_together():
    assert or_shipped('a.py', 'a.pth') == ('a.py', 'a.pth')
    with pytest.raises(InputError, match='^a checkpoint is missing: give both'):
        or_shipped('a.py', None)
    with pytest.raises(InputError, match='^a config is missing: give both'):
        init_model(checkpoint='a.pth')


def test_the_config_of_adapt_goes_on_with_the_shipped_network():
    configs = (load_config(config_path(name)) for name in (SHIPPED.config, ADAPT_CONFIG))
    shipped, adapted = (config.model for config in configs)
    assert shipped == adapted


def test_model_index_names_the_shipped_network():
    index = yaml.safe_load((ROOT / 'model-index.yml').read_text())
    (metafile,) = (yaml.safe_load((ROOT / path).read_text()) for path in index['Import'])
    (collection,) = metafile['Collections']
    (model,) = metafile['Models']
    assert model['In Collection'] == collection['Name']
    assert model['Name'] == SHIPPED.name
    assert model['Config'] == f'configs/{SHIPPED.config}'
    assert model['Weights'] == f'mmboxcaseg/pretrained/{SHIPPED.file}'
    assert model['Metadata']['Seed'] == SHIPPED.seed
    assert all((ROOT / path).is_file() for path in (model['Config'], collection['README']))
    for result in model['Results']:
        assert result.keys() == {'Task', 'Dataset', 'Metrics'}
