"""Signs that a stream leaves out, for the parity of magnitudes tells them.

    symbols of a phase --magnitudes--> tables of the scale indices --> stream
        |                   |
        |                   +--sum of each group even or odd--> sign of its first symbol that is not zero
        +--all other signs--> one bit each --> stream

A group is what a phase codes of one block, if its magnitudes add up to enough. Where the parity is wrong the
encoder changes the magnitude that costs least to change: a bit is saved each time, and half of the times
something is paid for it, the less the more symbols there are to choose from (sign data hiding: Clare, Henry,
Jung 2011, JCTVC-G271; part of HEVC).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

Cost = Callable[[Tensor, Tensor], Tensor]
"""Of symbols [n] at positions [n] among those of a phase: in bits, a sign counted as one, [n]."""


def group_numbers(coded: Tensor) -> Tensor:
    """The group of each coded symbol of a phase, in order picture, channel, row, column: int64 [N].

    coded: which latents are coded, bool [B, C, H, W].
    """
    picture, _, row, column = coded.nonzero(as_tuple=True)
    return (picture * coded.shape[2] + row) * coded.shape[3] + column


class Hiding(NamedTuple):
    """What magnitudes of a phase tell.

    Attributes:
        shown: which signs are in the stream, bool [N].
        first: positions of the symbols whose signs are hidden, int64 [G], each of another group.
        signs: these signs, -1 or 1, [G].
    """

    shown: Tensor
    first: Tensor
    signs: Tensor

    @classmethod
    def of(cls, magnitudes: Tensor, groups: Tensor, enough: int) -> Hiding:
        """That of magnitudes [N] in groups [N], see `group_numbers`, where the sum of a group is enough."""
        seen = _Groups.of(magnitudes, groups)
        hides = seen.sums >= enough
        shown = magnitudes > 0
        first = seen.first[hides]
        shown[first] = False
        return cls(shown, first, _sign_of_parity(seen.sums[hides]))

    def symbols(self, magnitudes: Tensor, shown_signs: Tensor) -> Tensor:
        """The symbols [N] of magnitudes [N] and of the signs in the stream, -1 or 1."""
        signs = torch.zeros_like(magnitudes)
        signs[self.shown] = shown_signs
        signs[self.first] = self.signs
        return magnitudes * signs


class _Groups(NamedTuple):
    """Sums of magnitudes by group, and where each has its first that is not zero (N if nowhere)."""

    sums: Tensor
    first: Tensor

    @classmethod
    def of(cls, magnitudes: Tensor, groups: Tensor) -> _Groups:
        count = int(groups.max()) + 1 if len(groups) else 0
        sums = magnitudes.new_zeros(count).index_add_(0, groups, magnitudes)
        return cls(sums, _first(magnitudes > 0, groups, count))


def _first(chosen: Tensor, groups: Tensor, count: int) -> Tensor:
    """The first chosen position of each group, the number of positions where there is none: [count]."""
    positions = chosen.nonzero()[:, 0]
    nowhere = groups.new_full((count,), len(groups))
    return nowhere.scatter_reduce_(0, groups[positions], positions, "amin")


def _sign_of_parity(sums: Tensor) -> Tensor:
    return 1 - 2 * (sums % 2)


def with_parity(symbols: Tensor, nearest: Tensor, groups: Tensor, enough: int, cost: Cost) -> Tensor:
    """Symbols [N] whose parities tell the signs that are hidden, with as little more cost as one change has.

    Args:
        symbols: as they are best one by one, whole numbers.
        nearest: what they stand for before rounding, [N]: zeros may become ones of its sign.
        groups: see `group_numbers`.
        enough: the smallest sum of a group that hides a sign.
        cost: of other symbols.
    """
    seen = _Groups.of(symbols.abs().long(), groups)
    signs = torch.cat([symbols, symbols.new_ones(1)])[seen.first].sign()
    wrong = (seen.sums >= enough) & (signs != _sign_of_parity(seen.sums))
    at = wrong[groups].nonzero()[:, 0]
    if not len(at):
        return symbols
    own, group = symbols[at], groups[at]
    before = cost(own, at)
    grown = own + torch.where(own != 0, own.sign(), torch.where(nearest[at] < 0, -1.0, 1.0))
    shrunk = own - own.sign()

    leads = (own == 0) & (at < seen.first[group])
    more = torch.where(leads & (grown != signs[group]), torch.inf, cost(grown, at) - before)

    is_first = at == seen.first[group]
    second = _first((own != 0) & ~is_first, group, len(signs))
    follows = torch.cat([own, own.new_zeros(1)])[second].sign()
    hides = seen.sums[group] > enough
    ends = (own == 0) | (is_first & (shrunk == 0) & hides & (follows[group] != signs[group]))
    less = torch.where(ends, torch.inf, cost(shrunk, at) - before + torch.where(hides, 0.0, 1.0))

    change = torch.minimum(more, less)
    lowest = change.new_full((len(signs),), torch.inf).scatter_reduce_(0, group, change, "amin")
    taken = _first(change == lowest[group], group, len(signs))
    taken = taken[taken < len(at)]
    changed = symbols.clone()
    changed[at[taken]] = torch.where(more < less, grown, shrunk)[taken]
    return changed
