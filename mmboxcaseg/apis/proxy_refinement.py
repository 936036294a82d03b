"""Raw masks from anywhere, merged and rated."""

from __future__ import annotations

from pathlib import Path

from mmboxcaseg.coco.proxies import refine_file
from mmboxcaseg.fileio import check_output


def refine_proxy_masks(
    boxes: str | Path,
    raw: str | Path,
    out: str | Path,
    *,
    merge: bool = True,
    inclusive_boxes: bool = False,
) -> tuple[str, int]:
    """Merge the raw masks of a COCO file's boxes and measure how well they agree with the boxes.

    Args:
        boxes: COCO file; its masks are not read.
        raw: COCO results file with the raw masks.
        out: COCO file to write: the boxes with ``segmentation`` and ``box_agreement``.
        merge: Whether masks of one image give way to those of smaller boxes.
        inclusive_boxes: See :func:`mmboxcaseg.proxy.box_agreement`.

    Returns:
        How many masks there are and how well they agree, and how many boxes had no raw mask.

    Raises:
        InputError: If a file cannot be read or written, or an entry of it is wrong.

    Example:
        >>> from mmboxcaseg.apis import refine_proxy_masks
        >>> refine_proxy_masks('boxes.json', 'raw.json', 'proxy.json')  # doctest: +SKIP
    """
    check_output(out, inputs=[boxes, raw])
    return refine_file(boxes, raw, out, merge=merge, inclusive_boxes=inclusive_boxes)
