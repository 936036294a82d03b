"""Masks for boxes of an image by an exported network; needs numpy, opencv-python, onnxruntime.

mmboxcaseg export network.onnx
python demo/onnx_masks.py network.onnx image.jpg masks.png 172,18,409,306 76,66,479,390
"""

import argparse
import json

import cv2
import numpy as np
import onnxruntime


def predict(session, image, bboxes):
    """(N, H, W) bool masks and (N,) quality for boxes (N, 4), xyxy, of an image (H, W, 3), BGR."""
    meta = {k: json.loads(v) for k, v in session.get_modelmeta().custom_metadata_map.items()}
    size, end = np.array([meta['width'], meta['height']]), np.array(image.shape[1::-1])
    bboxes = np.clip(np.asarray(bboxes, float), 0, np.tile(end, 2))
    start = np.minimum(np.floor(bboxes[:, :2] + 0.5), end - 1)
    pixels = np.hstack([start, np.maximum(np.floor(bboxes[:, 2:] + 0.5), start + 1)]).astype(int)

    def grown(share):
        step = np.floor(share * (pixels[:, 2:] - pixels[:, :2]) + 0.5).astype(int)
        return pixels + np.hstack([-step, step])

    shown, windows = grown(meta['margin']), np.clip(grown(meta['slack']), 0, np.tile(end, 2))
    border = int(np.abs(shown - pixels).max(initial=0))
    wide = cv2.copyMakeBorder(image, *[border] * 4, cv2.BORDER_CONSTANT, value=meta['outside'])
    masks, quality = np.zeros((len(bboxes), *image.shape[:2]), bool), np.zeros(len(bboxes))
    for i, (x1, y1, x2, y2) in enumerate(shown):
        crop = wide[y1 + border : y2 + border, x1 + border : x2 + border]
        shrinks = x2 - x1 >= size[0] and y2 - y1 >= size[1]
        patch = cv2.resize(crop, size.tolist(), interpolation=cv2.INTER_AREA if shrinks else 1)
        corner, scale = np.tile([x1, y1], 2), np.tile(size / [x2 - x1, y2 - y1], 2)
        own, window, *others = (np.vstack([pixels[i], windows[i], bboxes]) - corner) * scale
        others = np.delete(others, i, axis=0)
        others = others[(others[:, 2:] > 0).all(1) & (others[:, :2] < size).all(1)]
        inputs = dict(bboxes=own, windows=window, others=others)
        inputs = {name: np.float32(value)[None] for name, value in inputs.items()}
        inputs['patches'] = patch[None]
        inputs = {each.name: inputs[each.name] for each in session.get_inputs()}
        (probabilities,), (level,), (quality[i],) = session.run(None, inputs)
        left, top, right, bottom = windows[i]
        mask = cv2.resize(probabilities, (right - left, bottom - top)) > level
        masks[i, top:bottom, left:right] = mask
    return masks, quality


if __name__ == '__main__':
    parser = argparse.ArgumentParser(description=__doc__.split('\n\n')[0])
    parser.add_argument('network', help='what mmboxcaseg export wrote')
    parser.add_argument('image')
    parser.add_argument('out', help='PNG file to write, whose pixels are numbers of boxes')
    parser.add_argument('boxes', nargs='+', help='corners of a box, such as 172,18,409,306')
    args = parser.parse_args()
    boxes = [[float(edge) for edge in box.split(',')] for box in args.boxes]
    session, image = onnxruntime.InferenceSession(args.network), cv2.imread(args.image)
    if image is None:
        parser.error(f'{args.image} cannot be read as an image')
    masks, quality = predict(session, image, boxes)
    numbers = np.arange(1, len(masks) + 1, dtype=np.uint8)
    cv2.imwrite(args.out, (masks * numbers[:, None, None]).max(axis=0))  # where two lie, the later
    print(*np.round(quality, 2))
