"""Which latents of a batch a stream has, and what is there: from planes of a network to runs of a coder."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Values = npt.NDArray[Any]


class Places(NamedTuple):
    """Some places of planes [B, C, H, W], picture by picture, channel by channel, row by row.

    Found once for all that is taken from them: looking for them is most of the work of a boolean index.

    Attributes:
        shape: of the planes.
        numbers: rising, of all B * C * H * W of them, int64 [N].
    """

    shape: torch.Size
    numbers: Tensor

    @classmethod
    def where(cls, chosen: Tensor) -> Places:
        """Those where a bool [B, C, H, W] is true."""
        return cls(chosen.shape, chosen.flatten().nonzero()[:, 0])

    def of(self, planes: Tensor) -> Tensor:
        """What planes that broadcast to [B, C, H, W] have there, [N]."""
        return planes.expand(self.shape).reshape(-1).index_select(0, self.numbers)

    def by_picture(self, *values: Tensor) -> Iterator[list[Values]]:
        """Channels and values, [N] each, of picture after picture."""
        batch, channels, height, width = self.shape
        plane = height * width
        channel = (self.numbers // plane % channels).to(torch.int16)
        starts = torch.arange(1, batch, device=channel.device) * (channels * plane)
        ends = torch.searchsorted(self.numbers, starts).tolist()
        parts = zip(*(torch.tensor_split(value.cpu(), ends) for value in (channel, *values)), strict=True)
        return ([value.numpy() for value in part] for part in parts)

    def planes(self, values: Tensor) -> Tensor:
        """Values [N] there, zeros elsewhere: [B, C, H, W]."""
        return values.new_zeros(self.shape.numel()).index_copy_(0, self.numbers, values).view(self.shape)


def joined(parts: Sequence[Values], like: Tensor) -> Tensor:
    """Values of picture after picture, [N], of a type and on a device like that."""
    return torch.from_numpy(np.concatenate(parts)).to(like)
