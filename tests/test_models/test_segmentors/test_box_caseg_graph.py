"""The graph, run as it is by torch, against what predicts masks everywhere else."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmboxcaseg.apis import BoxCasegPredictor, init_model
from mmboxcaseg.models.segmentors import BoxCasegGraph
from mmboxcaseg.models.segmentors.box_caseg_graph import _best_thresholds
from mmboxcaseg.proxy import bboxes_in_window, best_threshold, mask_windows

BBOXES = np.array([[2, 3, 22, 21], [4, 5, 24, 21], [26, 8, 40, 38]], dtype=np.float64)
ALL_PROMPTS = dict(type='mmboxcaseg.BoxPrompt', own=True, others=True, loose=True)


@pytest.mark.parametrize(
    ('model', 'margin'),
    [
        (dict(), 0.0),
        (dict(test_cfg=dict(threshold='best', maps=('weak', 'fused'))), 0.2),
        (dict(test_cfg=dict(threshold='tight', calibration=(0.9, -0.8)), prompt=ALL_PROMPTS), 0.2),
        (dict(test_cfg=dict(threshold='tight', slack=0.2), prompt=ALL_PROMPTS), 0.2),
        (
            dict(
                data_preprocessor=dict(type='mmboxcaseg.PatchPreprocessor'),
                test_cfg=dict(threshold=0.3),
                prompt=dict(type='mmboxcaseg.BoxPrompt'),
            ),
            0.1,
        ),
    ],
)
def test_gives_what_the_predictor_gives(box_caseg_cfg, test_dataset_cfg, data_root, model, margin):
    test_dataset_cfg['pipeline'][1]['margin'] = margin
    config = Config(
        dict(model=box_caseg_cfg(**model), test_dataloader=dict(dataset=test_dataset_cfg))
    )
    network = init_model(config)
    # Of channels that are new the weights are zero at first.
    torch.nn.init.normal_(network.backbone.conv1.weight, std=0.3)
    image = cv2.imread(str(data_root / 'coco' / 'train' / '002.png'))
    predictor = BoxCasegPredictor(network)
    packed = list(predictor.pack(image, BBOXES))
    samples = predictor.predict_packed(packed)
    predictor.set_image(image)
    masks, quality = predictor.predict(BBOXES)

    graph = BoxCasegGraph(network)
    assert ('others' in graph.inputs) == (model.get('prompt') == ALL_PROMPTS)
    windows = mask_windows(BBOXES, image.shape[:2], network.slack)
    known = [one['data_samples'] for one in packed]
    in_patches = [
        bboxes_in_window(w, s.patch_bbox, (32, 32))[0] for w, s in zip(windows, known, strict=True)
    ]
    others = [s.other_instances.bboxes for s in known]
    inputs = dict(
        patches=torch.stack([one['inputs'].permute(1, 2, 0) for one in packed]),
        bboxes=torch.cat([s.gt_instances.bboxes for s in known]),
        windows=torch.from_numpy(np.float32(in_patches)),
        others=torch.nn.utils.rnn.pad_sequence(others, batch_first=True),
    )
    with torch.no_grad():
        maps, levels, rated = graph(**{name: inputs[name] for name in graph.inputs})

    expected = np.array([s.pred_maps.fused[0].numpy() for s in samples])
    np.testing.assert_allclose(maps, expected, atol=1e-5)
    np.testing.assert_allclose(rated, quality, atol=1e-5)
    for mask, map_, level, (x1, y1, x2, y2) in zip(masks, maps, levels, windows, strict=True):
        drawn = cv2.resize(map_.numpy(), (int(x2 - x1), int(y2 - y1))) > float(level)
        assert mask.any()
        assert np.count_nonzero(drawn != mask[y1:y2, x1:x2]) <= 1  # rounding beside the level


@pytest.mark.parametrize('tight', [False, True])
def test_best_thresholds_of_many_maps(tight):
    rng = np.random.default_rng(0)
    maps = np.stack([cv2.GaussianBlur(rng.random((12, 9)), (0, 0), s) for s in (0.5, 1, 2, 3) * 5])
    maps[:10] **= 3
    maps[0, :, :4] = 0  # empty columns
    expected = [best_threshold(prob, tight) for prob in maps]
    low, high = maps.min((1, 2), keepdims=True), maps.max((1, 2), keepdims=True)
    stretched = torch.from_numpy((maps - low) / (high - low))
    found = _best_thresholds(torch.from_numpy(maps), stretched, tight)
    assert found.tolist() == expected
    assert len(set(expected)) > 5


def test_masks_are_not_tight_with_a_slack(box_caseg_cfg):
    prob = np.array([[1.0, 1.0, 0.4, 0.0]])
    best, tight = (best_threshold(prob, tight) for tight in (False, True))
    assert best != tight
    graph = BoxCasegGraph(init_model(Config(dict(model=box_caseg_cfg(), test_pipeline=[]))))
    graph.model.threshold = 'tight'
    for graph.model.slack, expected in ((0.0, tight), (0.2, best)):
        assert graph._rate(torch.from_numpy(prob[None]))[0].tolist() == [expected]


def test_flat_and_empty_maps(box_caseg_cfg):
    graph = BoxCasegGraph(init_model(Config(dict(model=box_caseg_cfg(), test_pipeline=[]))))
    maps = torch.zeros(3, 2, 2, dtype=torch.float64)
    maps[1] = 0.75
    maps[2, 0] = torch.tensor([1.0, 0.5])
    for threshold in (0.5, 'best', 'tight'):
        graph.model.threshold = threshold
        levels, quality = graph._rate(maps)
        # A flat map is compared with one half as it is: nothing is above it, or all.
        assert levels.tolist()[:2] == [0.5, 0.5]
        assert quality.tolist()[:2] == [0.0, 0.75]
    # By a threshold of one half one pixel of 1 is the mask, of 1.5 expected ones.
    graph.model.threshold = 0.5
    torch.testing.assert_close(graph._rate(maps)[1][2], torch.tensor(1 / 1.5).double())
