"""A batch cut into slices for several people: each a whole signed batch folder over some of the items.

Items of one failure cluster stay together as far as the sizes allow; an item and its double-blind twin never lie in one slice, for one
person would see both.
"""

from collections.abc import Iterable

from flywheel.corrections.items import Item
from flywheel.errors import FlywheelError


def sliced(items: list[Item], twins: Iterable[tuple[str, str]], count: int) -> list[list[Item]]:
    """The items in `count` slices of nearly equal size, each in the batch's order; the same items give the same slices.

    Args:
        twins: (item id, item id) that show the same run; each pair is parted.

    Raises FlywheelError when there are fewer items than slices.
    """
    if count < 1 or count > len(items):
        raise FlywheelError(f"{len(items)} items do not make {count} slices", remedy=f"ask for 1 to {len(items)}")
    size = -(-len(items) // count)
    first = {}
    for item in items:
        first.setdefault(item.failure_cluster, item.position)
    together = sorted(items, key=lambda item: (first[item.failure_cluster], item.position))
    place = {item.item_id: number * count // len(together) for number, item in enumerate(together)}
    for one, other in twins:
        if count > 1 and place.get(one) is not None and place.get(one) == place.get(other):
            sizes = [list(place.values()).count(number) for number in range(count)]
            others = [number for number in range(count) if number != place[one]]
            place[other] = min(others, key=lambda number: (sizes[number] >= size, sizes[number], number))
    return [[item for item in items if place[item.item_id] == number] for number in range(count)]
