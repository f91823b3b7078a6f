"""A symbol of a small alphabet as a walk of yes-no decisions, each with a probability of its own.

    home?  --yes--> home
       |no
    above? --yes--> home + 1? --yes--> home + 1
       |                |no
       |            home + 2? --yes--> home + 2   ...   the last one needs no question
       |no
    home - 1?  --yes--> home - 1   ...

Any distribution over `size` symbols is `size - 1` probabilities, one a decision, so that binary tables, which
are few, do for all distributions. The symbol that is likely by far comes first, and most walks are one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Decide = Callable[[Integers, Integers], npt.NDArray[np.integer]]


class SymbolTree:
    """The decisions of an alphabet 0..size - 1.

    Attributes:
        size: of the alphabet, at least 3.
        home: the likely symbol, (size - 1) // 2.
        nodes: number of decisions, size - 1.
        children: int64 [nodes, 2], where -1 and 1 lead: to a node, or to symbol s as -1 - s.
        decisions: int64 [nodes, size]: -1 or 1, what a node decides for a symbol, 0 where it is not asked.
    """

    def __init__(self, size: int) -> None:
        if size < 3:
            raise ValueError(f"an alphabet of {size} symbols has no tree")
        self.size = size
        self.home = (size - 1) // 2
        self.nodes = size - 1
        children: list[tuple[int, int]] = [(1, ~self.home), (0, 0)]

        def chain(symbols: Sequence[int]) -> int:
            """Ask for one symbol after the other; returns where to begin."""
            if len(symbols) == 1:
                return ~symbols[0]
            node = len(children)
            children.append((0, 0))
            children[node] = (chain(symbols[1:]), ~symbols[0])
            return node

        above, below = range(self.home + 1, size), range(self.home - 1, -1, -1)
        children[1] = (chain(below), chain(above))
        self.children: Integers = np.array(children)
        self.decisions: Integers = np.zeros((self.nodes, size), np.int64)
        for node in reversed(range(self.nodes)):
            for decision, child in zip((-1, 1), children[node], strict=True):
                symbols = self.decisions[child] != 0 if child >= 0 else np.arange(size) == ~child
                self.decisions[node, symbols] = decision

    def walk(self, count: int, decide: Decide) -> Integers:
        """Go down for `count` symbols at once; encoding and decoding differ in who decides.

        Args:
            count: number of symbols N.
            decide: called once a step with the symbols' numbers [M] in 0..N - 1, ascending, and the nodes
                they are at [M]; returns decisions -1 or 1, [M].

        Returns:
            The symbols, [N].
        """
        symbols = np.empty(count, np.int64)
        number, node = np.arange(count), np.zeros(count, np.int64)
        while len(number):
            child = self.children[node, (decide(number, node) + 1) // 2]
            found = child < 0
            symbols[number[found]] = ~child[found]
            number, node = number[~found], child[~found]
        return symbols
