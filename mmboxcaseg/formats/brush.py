"""The run lengths in which Label Studio keeps what a brush has painted.

Of each pixel, row by row, there are four equal bytes, 255 where it is painted. A head of 32 bits
has their number, then come the bits of a byte, less one, in 5 bits, and four lengths in bits, each
less one, in 4 bits. Each run is a bit that says whether one byte follows for all or one for each,
which of the four lengths its own length has, that length less one, and the byte or bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

_LENGTHS = (3, 4, 8, 16)
_CHANNELS, _PAINTED = 4, 255


def encode_brush(mask: np.ndarray) -> list[int]:
    """Encode a mask.

    Args:
        mask: (H, W) bool.

    Returns:
        Bytes, as the ``rle`` of a result of ``brushlabels`` has them.

    Example:
        >>> encode_brush(np.array([[False, True]]))
        [0, 0, 0, 8, 57, 27, 252, 96, 17, 255, 128]
    """
    flat = mask.ravel()
    starts = np.concatenate([[0], (flat[1:] != flat[:-1]).nonzero()[0] + 1])
    lengths = np.diff(np.append(starts, flat.size)) * _CHANNELS
    bits = [f'{flat.size * _CHANNELS:032b}', f'{8 - 1:05b}', *(f'{n - 1:04b}' for n in _LENGTHS)]
    for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
        value = f'{_PAINTED * bool(flat[start]):08b}'
        while length:
            part = min(length, 2 ** _LENGTHS[-1])
            index = next(i for i, size in enumerate(_LENGTHS) if part <= 2**size)
            bits.append(f'1{index:02b}{part - 1:0{_LENGTHS[index]}b}{value}')
            length -= part
    text = ''.join(bits)
    text += '0' * (-len(text) % 8)
    return list(int(text, 2).to_bytes(len(text) // 8, 'big'))


def decode_brush(rle: Sequence[int], img_shape: tuple[int, int]) -> np.ndarray:
    """Decode a mask.

    Args:
        rle: Bytes as of :func:`encode_brush`.
        img_shape: (height, width) of the image.

    Returns:
        (height, width) bool, what is painted more than half.

    Raises:
        ValueError: If they are none or do not fit the image.

    Example:
        >>> decode_brush([0, 0, 0, 8, 57, 27, 252, 96, 17, 255, 128], (1, 2)).tolist()
        [[False, True]]
    """
    bits = ''.join(f'{byte:08b}' for byte in rle)
    place = 0

    def read(count: int) -> int:
        nonlocal place
        place += count
        return int(bits[place - count : place], 2)  # a ValueError behind the end

    total, word = read(32), read(5) + 1
    if total != _CHANNELS * img_shape[0] * img_shape[1]:
        raise ValueError(f"its {total} values are not the four of each of the image's pixels")
    lengths = [read(4) + 1 for _ in range(4)]
    values = np.zeros(total, dtype=np.uint8)
    start = 0
    while start < total:
        is_run, length = read(1), 1 + read(lengths[read(2)])
        stop = start + length
        values[start:stop] = read(word) if is_run else [read(word) for _ in range(length)]
        start = stop
    return (values[_CHANNELS - 1 :: _CHANNELS] > _PAINTED // 2).reshape(img_shape)
