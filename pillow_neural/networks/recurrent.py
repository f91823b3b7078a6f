"""Convolutional recurrent units and the stacks of them that recurrent codecs are made of.

    features [B, inputs, H, W] ----input kernel, stride s----+--> gates --> new state --> output
    state    [B, channels, H/s, W/s] ----hidden kernel ------+

The units are those of Toderici et al. 2016 (arXiv 1608.05148, section 2.1): the LSTM, the gated recurrent
unit and its residual form. Each has a kernel for its input and another for its hidden state, "I/H" in the
figures of that paper and of Johnston et al. 2018 (arXiv 1703.10114). The first step has a state of zeros and
leaves its convolutions out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from torch import Tensor, nn

State = tuple[Tensor, ...]
UnitName = Literal["lstm", "gru", "residual_gru"]

INPUT_KERNEL = 3
RESIDUAL_SCALE = 0.1
FORGET_BIAS = 1.0
UPDATE_BIAS = 2.0
"""Of the update gate: new units mostly take what is new, which speeds up the start of training."""


class Convolution(nn.Conv2d):
    """A zero-padded convolution whose output starts with the deviation of its input.

    Args:
        inputs, outputs: channels.
        kernel: odd side of the kernel.
        stride: 1 or 2.
        bias: whether it has one, which starts at zero.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__(inputs, outputs, kernel, stride, padding=kernel // 2, bias=bias)
        nn.init.normal_(self.weight, std=(inputs * kernel**2) ** -0.5)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class Unit(Protocol):
    """What `Stack` needs of a recurrent unit."""

    def __init__(self, inputs: int, channels: int, hidden_kernel: int, stride: int) -> None: ...

    def __call__(self, features: Tensor, state: State | None) -> tuple[Tensor, State]:
        """Output and new state [B, channels, H/s, W/s]; state None is that before the first step."""


class ConvLSTM(nn.Module):
    """Long short-term memory with convolutions for products (section 2.1, first equations)."""

    def __init__(self, inputs: int, channels: int, hidden_kernel: int, stride: int) -> None:
        super().__init__()
        self.input = Convolution(inputs, 4 * channels, INPUT_KERNEL, stride)
        self.hidden = Convolution(channels, 4 * channels, hidden_kernel, bias=False)
        assert self.input.bias is not None
        nn.init.constant_(self.input.bias[:channels], FORGET_BIAS)

    def forward(self, features: Tensor, state: State | None) -> tuple[Tensor, State]:
        """One step; the state is the output and the cell."""
        gates = self.input(features)
        if state is not None:
            gates = gates + self.hidden(state[0])
        forget, write, read, value = gates.chunk(4, dim=1)
        cell = torch.sigmoid(write).float() * torch.tanh(value)
        if state is not None:
            cell = cell + torch.sigmoid(forget) * state[1]
        output = torch.sigmoid(read) * torch.tanh(cell)
        return output, (output, cell)


class ConvGRU(nn.Module):
    """Gated recurrent unit: h = (1 - z) h + z tanh(W x + U (r h)) (section 2.1)."""

    def __init__(self, inputs: int, channels: int, hidden_kernel: int, stride: int) -> None:
        super().__init__()
        self.channels = channels
        self.input = Convolution(inputs, 3 * channels, INPUT_KERNEL, stride)
        assert self.input.bias is not None
        nn.init.constant_(self.input.bias[:channels], UPDATE_BIAS)
        self.hidden = Convolution(channels, 2 * channels, hidden_kernel, bias=False)
        self.candidate = Convolution(channels, channels, hidden_kernel, bias=False)

    def forward(self, features: Tensor, state: State | None) -> tuple[Tensor, State]:
        """One step; the state is the output."""
        hidden = self.updated(features, None if state is None else state[0])
        return hidden, (hidden,)

    def updated(self, features: Tensor, hidden: Tensor | None) -> Tensor:
        """The new hidden state, in float32."""
        gates, value = self.input(features).split((2 * self.channels, self.channels), dim=1)
        if hidden is None:
            update = torch.sigmoid(gates[:, : self.channels])
            return update.float() * torch.tanh(value)
        update, reset = torch.sigmoid(gates + self.hidden(hidden)).chunk(2, dim=1)
        value = torch.tanh(value + self.candidate(reset * hidden))
        return torch.lerp(hidden, value.float(), update.float())


class ResidualGRU(ConvGRU):
    """GRU with scaled shortcuts along time and from input to output (section 2.1, last equations).

    h = GRU(x, h') + a W h' and output = h + a V x, with a = 0.1 and 1x1 kernels for W and V.
    """

    def __init__(self, inputs: int, channels: int, hidden_kernel: int, stride: int) -> None:
        super().__init__(inputs, channels, hidden_kernel, stride)
        self.carry = Convolution(channels, channels, 1, bias=False)
        self.shortcut = Convolution(inputs, channels, 1, stride, bias=False)

    def forward(self, features: Tensor, state: State | None) -> tuple[Tensor, State]:
        """One step; the state is the hidden state."""
        hidden = self.updated(features, None if state is None else state[0])
        if state is not None:
            hidden = hidden + RESIDUAL_SCALE * self.carry(state[0])
        return hidden + RESIDUAL_SCALE * self.shortcut(features), (hidden,)


UNITS: dict[UnitName, type[Unit]] = {"lstm": ConvLSTM, "gru": ConvGRU, "residual_gru": ResidualGRU}


class Stack(nn.Module):
    """Recurrent units one after another, each followed by depth-to-space where it up-samples.

    Args:
        unit: which recurrent unit.
        inputs: channels of the first unit's input.
        channels: of the hidden state of each unit.
        hidden_kernels: of each unit.
        upsampling: False for units of stride 2; True for stride 1 with depth-to-space by 2 after each unit,
            which leaves a quarter of its channels (section 2).
        beside: channels that each of the last units gets from elsewhere.
    """

    def __init__(
        self,
        unit: UnitName,
        inputs: int,
        channels: Sequence[int],
        hidden_kernels: Sequence[int],
        upsampling: bool,
        beside: Sequence[int] = (),
    ) -> None:
        super().__init__()
        stride, share = (1, 4) if upsampling else (2, 1)
        self.units = nn.ModuleList()
        elsewhere = [0] * (len(channels) - len(beside)) + list(beside)
        for width, kernel, more in zip(channels, hidden_kernels, elsewhere, strict=True):
            self.units.append(UNITS[unit](inputs + more, width, kernel, stride))  # type: ignore[arg-type]
            inputs = width // share
        self.upsample = nn.PixelShuffle(2) if upsampling else nn.Identity()
        self.outputs = inputs

    def forward(
        self, features: Tensor, states: Sequence[State] | None, beside: Sequence[Tensor] = ()
    ) -> tuple[Tensor, list[State]]:
        """One step of all units: features and new states; states None before the first step."""
        new = []
        first = len(self.units) - len(beside)
        for number, unit in enumerate(self.units):
            if number >= first:
                features = torch.cat([features, beside[number - first].to(features)], dim=1)
            features, state = unit(features, None if states is None else states[number])
            new.append(state)
            features = self.upsample(features)
        return features, new
