"""Convolutions in exact integer arithmetic, trained as such.

What the entropy coder is told must be the same on every machine (Balle et al. 2019, "Integer networks for
data compression with latent-variable models"). Activations are whole numbers of at most 7 bits, weights lie
on a dyadic grid w = n * 2**-shift with |n| <= 127 and one shift an output channel. Every partial sum is then
a multiple of 2**-shift below 2**24 of them, which float32 holds exactly: order of summation, threads,
memory layout and device cannot matter.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.precision import multiplies_bytes

ACTIVATION_LIMIT = 127
WEIGHT_LIMIT = 127
EXACT_LIMIT = 2**24
MAX_SHIFT = 20


def straight_through(value: Tensor, quantised: Tensor) -> Tensor:
    """The quantised value with the gradient of the value (Theis et al. 2017, eq. 4).

    Exactly the quantised value where no gradient is recorded; within float rounding of it in training.
    """
    if not torch.is_grad_enabled():
        return quantised
    return value + (quantised - value).detach()


def round_half_up(value: Tensor) -> Tensor:
    """floor(value + 1/2), exact for dyadic values; unlike torch.round, without ties to even."""
    return torch.floor(value + 0.5)


def largest_exact(bounds: Iterable[Tensor]) -> int:
    """The largest of bounds on partial sums, in grid units.

    Raises:
        OverflowError: float32 could not hold it exactly.
    """
    largest = int(max(sums.max().item() for sums in bounds))
    if largest >= EXACT_LIMIT:
        raise OverflowError(f"integer sums reach {largest}, float32 is exact below {EXACT_LIMIT}")
    return largest


class _RestoringClamp(torch.autograd.Function):
    """clamp whose gradient survives outside the range when a step along it would lead back inside."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, value: Tensor, low: float, high: float) -> Tensor:
        ctx.save_for_backward(value)
        ctx.range = (low, high)  # type: ignore[attr-defined]
        return value.clamp(low, high)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (value,) = ctx.saved_tensors  # type: ignore[attr-defined]
        low, high = ctx.range  # type: ignore[attr-defined]
        gradient = gradients[0]
        keep = ((value >= low) | (gradient < 0)) & ((value <= high) | (gradient > 0))
        return gradient * keep, None, None


def restoring_clamp(value: Tensor, low: float, high: float) -> Tensor:
    """Clamp to low..high, keeping the gradients that lead back into the range."""
    clamped: Tensor = _RestoringClamp.apply(value, low, high)  # type: ignore[no-untyped-call]
    return clamped


def integer_activation(value: Tensor) -> Tensor:
    """Whole numbers 0..127 (a ReLU with a ceiling), straight through for the gradient."""
    clamped = restoring_clamp(value, 0, ACTIVATION_LIMIT)
    return straight_through(clamped, round_half_up(clamped))


class IntegerLayer(nn.Module):
    """Weights and biases on a dyadic grid; the classes derived from it say how these meet the inputs.

    Args:
        weight: what training starts from, [outputs, ...].
        bias: likewise, [outputs, ...].
        bias_unit: how many units of the output one unit of the bias parameter is, so that biases learn at
            the pace of the weights though activations count in whole numbers.
    """

    def __init__(self, weight: Tensor, bias: Tensor, bias_unit: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(bias)
        self.bias_unit = bias_unit
        self._frozen = False

    def shift(self) -> Tensor:
        """Binary places of each output's grid, [outputs], the most that keep |n| <= 127."""
        largest = self.weight.detach().abs().flatten(1).amax(dim=1).clamp_min(2.0**-MAX_SHIFT)
        return torch.floor(torch.log2(WEIGHT_LIMIT / largest)).clamp(0, MAX_SHIFT)

    def grid(self) -> tuple[Tensor, Tensor]:
        """Weights and biases rounded to the grid, with the gradient of the parameters."""
        if self._frozen:
            return self.weight, self.bias * self.bias_unit
        unit = torch.exp2(self.shift())
        weight_unit = _along_outputs(unit, self.weight)
        rounded = round_half_up(self.weight * weight_unit).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT) / weight_unit
        bias, bias_unit = self.bias * self.bias_unit, _along_outputs(unit, self.bias)
        return (
            straight_through(self.weight, rounded),
            straight_through(bias, round_half_up(bias * bias_unit) / bias_unit),
        )

    @torch.no_grad()
    def integers(self) -> tuple[Tensor, Tensor, Tensor]:
        """What is stored: weights int8, biases int32 and shifts int8, weight = integer * 2**-shift."""
        shift = self.shift()
        unit = torch.exp2(shift)
        weight, bias = self.grid()
        return (
            torch.round(weight * _along_outputs(unit, weight)).to(torch.int8),
            torch.round(bias * _along_outputs(unit, bias)).to(torch.int32),
            shift.to(torch.int8),
        )

    @torch.no_grad()
    def freeze(self, weight: Tensor, bias: Tensor, shift: Tensor) -> None:
        """Take stored integers; from then on the parameters are used as they are, never rounded again."""
        unit = torch.exp2(-shift.float())
        self.weight.copy_(weight.float() * _along_outputs(unit, weight))
        self.bias.copy_(bias.float() * _along_outputs(unit, bias) / self.bias_unit)
        self._frozen = True

    def thaw(self) -> None:
        """Undo freeze: the parameters may change and are rounded to the grid once more."""
        self._frozen = False

    def largest_sums(self, largest_input: int) -> Tensor:
        """Bounds on all partial sums, in grid units, for inputs of at most this magnitude: [outputs]."""
        weight, bias, _ = self.integers()
        largest_bias = bias.double().abs().view(len(bias), -1).amax(dim=1)
        return weight.double().abs().flatten(1).sum(dim=1) * largest_input + largest_bias


def _along_outputs(values: Tensor, like: Tensor) -> Tensor:
    """One value an output, [outputs], shaped to broadcast along the first dimension of like."""
    return values.view(-1, *(1 for _ in like.shape[1:]))


class IntegerConv2d(IntegerLayer):
    """A convolution (kernel 1 or 3, stride 1, zero padding) with weights and biases on a dyadic grid.

    Args:
        inputs, outputs: channels.
        kernel: 1 or 3.
        bias_unit: as for IntegerLayer.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, bias_unit: float = 64.0) -> None:
        weight = torch.randn(outputs, inputs, kernel, kernel) / (inputs * kernel**2) ** 0.5
        super().__init__(weight, torch.zeros(outputs), bias_unit)
        self._in_bytes: _WeightBytes | None = None

    def forward(self, features: Tensor) -> Tensor:
        """[B, inputs, H, W] of whole numbers -> [B, outputs, H, W] on the grid.

        Without gradients the sum is taken by a matrix product, which no library computes by Winograd or
        Fourier transforms: the result is exact. Frozen layers have it of bytes where that is faster.
        """
        with torch.autocast(features.device.type, enabled=False):
            weight, bias = self.grid()
            if torch.is_grad_enabled():
                return F.conv2d(features, weight, bias, padding=weight.shape[-1] // 2)
            if self._in_bytes is not None and features.device.type == "cpu" and multiplies_bytes():
                return self._in_bytes.convolution(features, bias)
            return exact_convolution(features, weight, bias)

    def freeze(self, weight: Tensor, bias: Tensor, shift: Tensor) -> None:
        """Take stored integers; from then on the parameters are used as they are, never rounded again."""
        super().freeze(weight, bias, shift)
        self._in_bytes = _WeightBytes.of(weight.cpu(), shift.cpu())

    def thaw(self) -> None:
        """Undo freeze: the parameters may change and are rounded to the grid once more."""
        super().thaw()
        self._in_bytes = None


def exact_convolution(features: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A zero-padded stride 1 convolution in full float32: one matrix product."""
    seen = _windows(features, weight.shape[-1])
    total = seen.flatten(0, 2) @ _as_matrix(weight) + bias
    return total.view(*seen.shape[:3], -1).permute(0, 3, 1, 2)


class _WeightBytes(NamedTuple):
    """Weights of a frozen convolution as what they are on their grid.

    Attributes:
        matrix: int8 [kernel * kernel * inputs, outputs].
        unit: what 1 in a sum stands for, [outputs].
    """

    matrix: Tensor
    unit: Tensor

    @classmethod
    def of(cls, weight: Tensor, shift: Tensor) -> _WeightBytes:
        """Of stored integers: weights int8 [outputs, inputs, kernel, kernel] and shifts int8 [outputs]."""
        return cls(_as_matrix(weight).contiguous(), torch.exp2(-shift.float()))

    def convolution(self, features: Tensor, bias: Tensor) -> Tensor:
        """What `exact_convolution` gives, of features that are whole numbers -127..127."""
        kernel = 1 if self.matrix.shape[0] == features.shape[1] else 3
        seen = _windows(features.to(torch.int8), kernel)
        total = torch._int_mm(seen.flatten(0, 2), self.matrix).view(*seen.shape[:3], -1)
        return torch.addcmul(bias, total, self.unit).permute(0, 3, 1, 2)


def _as_matrix(weight: Tensor) -> Tensor:
    """Weights [outputs, inputs, kernel, kernel] -> [kernel * kernel * inputs, outputs]."""
    return weight.permute(2, 3, 1, 0).flatten(0, 2)


def _windows(features: Tensor, kernel: int) -> Tensor:
    """What a convolution sees, zeros around: [B, C, H, W] -> [B, H, W, kernel * kernel * C]."""
    height, width = features.shape[2:]
    margin = kernel // 2
    padded = F.pad(features.permute(0, 2, 3, 1), (0, 0, margin, margin, margin, margin)).contiguous()
    places = product(range(kernel), repeat=2)
    return torch.cat([padded[:, row : row + height, left : left + width] for row, left in places], 3)
