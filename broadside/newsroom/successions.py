"""The order in which one request's subscribers are put, when some of their tokens replace others."""

from __future__ import annotations

from collections.abc import Mapping

Target = tuple[str, str]
"""(channel, token)"""


def put_order(targets: Mapping[int, Target], replaced: Mapping[int, Target]) -> list[int]:
    """Return the indices of ``targets``, a token before the one that replaces it, else as they were given.

    ``targets``: index → target;
    ``replaced``: index → the target that it replaces. So a chain (B replaces A, C replaces B) ends in one subscriber,
    in whatever order its links are given. In a circle the first given is put last.
    """
    rows_of: dict[Target, list[int]] = {}
    for index, target in targets.items():
        rows_of.setdefault(target, []).append(index)
    order: dict[int, None] = {}
    begun: set[int] = set()
    for first in targets:
        path = [] if first in begun else [first]
        while path:
            index = path[-1]
            if index not in begun:
                begun.add(index)
                old = replaced.get(index)
                if old is not None and old != targets[index]:
                    path += [each for each in reversed(rows_of.get(old, ())) if each not in begun]
            else:
                order.setdefault(path.pop())
    return list(order)
