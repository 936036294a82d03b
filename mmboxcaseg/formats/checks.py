"""Classes that cannot be meant as they stand, told by their names."""

from __future__ import annotations

from mmboxcaseg.coco.annotations import Coco


def similar_classes(coco: Coco) -> list[str]:
    """Find classes that may be one: their names differ in capitals, spaces and signs alone.

    Returns:
        A sentence for each such group.
    """
    groups: dict[str, list[str]] = {}
    for category in coco.categories:
        letters = ''.join(filter(str.isalnum, category.name.casefold()))
        groups.setdefault(letters or category.name, []).append(category.name)
    return [
        f'classes {" and ".join(map(repr, names))} may be one: if so, give both one name'
        for names in groups.values()
        if len(names) > 1
    ]
