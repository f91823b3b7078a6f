"""The loop of a recurrent codec: what is still missing is coded again and again.

    iteration t = 1, 2, ...:

    picture x ----(-)--> residual r --encoder E--> features --binarizer B--> bits b_t, 32 a 16x16 block
                   ^                                                             |
                   |                                                             +--> the file
                   +------------- reconstruction x' <--------decoder D <---------+

    b_t = B(E_t(r_t-1))      x'_t = D_t(b_t) + gamma x'_t-1      r_t = x - x'_t      x'_0 = grey

Toderici et al. 2016 (arXiv 1608.05148, eq. 1 and 2): gamma is 0 for one-shot and 1 for additive
reconstruction; scaled additive reconstruction multiplies what the encoder sees by a gain, estimated from
x'_t-1, and divides what the decoder says by it (section 2.2). Encoder and decoder keep their hidden states
from one iteration to the next.

Johnston et al. 2018 (arXiv 1703.10114, section 3): priming runs the encoder and the decoder k more times in
the first iteration, on the same input, and keeps only the hidden states and the last output; diffusion does
so in the later iterations. Spatially adaptive bit rates: a 16x16 block has no more bits once its distortion
is at most its target, and the decoder gets zeros in their stead. Such a block keeps the pixels that its last
bits gave it, so that nothing coded later can spoil it.

A linear path, which the papers do not have, can take the place of encoder and binarizer, see
pillow_neural.networks.linear_path:

    bits b_t = digits of what is missing of x      l_t = all digits up to t      x'_t = l_t + D_t(b_t, l_t)
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.binarizer import Binarizer
from pillow_neural.networks.distortion import absolute_error, dissimilarity
from pillow_neural.networks.linear_path import LinearEncoder, LinearPath, LinearReconstruction, digits_of_bits
from pillow_neural.networks.recurrent import State
from pillow_neural.networks.recurrent_transforms import (
    BITS,
    BLOCK,
    GREY,
    Decoder,
    Encoder,
    GainEstimator,
    RecurrentShape,
)


class Iteration(NamedTuple):
    """What one iteration gave.

    Attributes:
        bits: float32 [B, 32, h, w]: -1 or 1, and 0 where a block has none.
        active: bool [B, h, w], the blocks that have bits.
        picture: the reconstruction, float32 [B, 3, 16h, 16w] in 0..1 and a little beyond; from `encode`,
            that of the linear path alone, if there is one.
    """

    bits: Tensor
    active: Tensor
    picture: Tensor


class RecurrentNetwork(nn.Module):
    """Encoder, binarizer and decoder of one recurrent codec.

    The buffer `mean_dissimilarity` belongs to training: the moving averages, by iteration, that errors are
    weighed against.
    """

    mean_dissimilarity: Tensor

    def __init__(self, shape: RecurrentShape) -> None:
        super().__init__()
        self.shape = shape
        self.encoder: Encoder | None = None
        self.binarizer: Binarizer | None = None
        self.path: LinearPath | None = None
        if shape.components:
            self.path = LinearPath(shape.components, BITS, shape.iterations, BLOCK)
        else:
            self.encoder = Encoder(shape)
            self.binarizer = Binarizer(self.encoder.outputs, BITS)
        self.decoder = Decoder(shape)
        self.gain = GainEstimator() if shape.reconstruction == "scaled_additive" else None
        self.register_buffer("mean_dissimilarity", torch.zeros(shape.iterations), persistent=False)

    def forward(self, pixels: Tensor, targets: Tensor, inside: Tensor | None = None) -> Iterator[Iteration]:
        """Code and reconstruct pictures, iteration by iteration; see `encode`."""
        if self.path is None:
            yield from self.encode(pixels, targets, inside)
            return
        decoder = DecoderLoop(self, len(pixels), *pixels.shape[2:])
        for bits, active, _ in self.encode(pixels, targets, inside):
            yield Iteration(bits, active, decoder.step(bits, active))

    def encode(self, pixels: Tensor, targets: Tensor, inside: Tensor | None = None) -> Iterator[Iteration]:
        """Code pictures iteration by iteration, until no block needs more or there are `shape.iterations`.

        In training there are always `shape.iterations`. With a linear path no unit has to run for this.

        Args:
            pixels: [B, 3, H, W] in 0..1, H and W multiples of 32.
            targets: [B], the distortion at which a block has enough; below 0 no block ever has.
            inside: bool [B, H/16, W/16], the blocks to code, at least one; None for all.
        """
        if inside is None:
            inside = torch.ones_like(pixels[:, 0, ::BLOCK, ::BLOCK], dtype=torch.bool)
        active, path = inside, self.path
        encoder = RecurrentEncoder(self, pixels) if path is None else LinearEncoder(path, pixels, GREY)
        may_stop = bool((targets >= 0).any())
        for _ in range(self.shape.iterations):
            bits, picture = encoder.step(active)
            yield Iteration(bits, active, picture)
            if may_stop:
                distortion = self.distortion(pixels, picture.detach())
                active = active & (distortion > targets[:, None, None])
            if not self.training and not active.any():
                return

    def extra_steps(self, number: int) -> int:
        """Steps before the last one of an iteration, counted from 0."""
        return self.shape.diffusion if number else self.shape.priming

    def distortion(self, pixels: Tensor, picture: Tensor) -> Tensor:
        """Distortion of 16x16 blocks as this network was trained to lower it: [B, H/16, W/16]."""
        error = absolute_error(pixels, picture)
        if self.shape.ssim_weighted:
            error = error * dissimilarity(pixels, picture)
        return F.avg_pool2d(error, 2)


class RecurrentEncoder:
    """The encoder's side of the loop for one batch of pictures [B, 3, H, W]; it runs the decoder, too."""

    def __init__(self, network: RecurrentNetwork, pixels: Tensor) -> None:
        assert network.encoder is not None
        assert network.binarizer is not None
        self._encoder, self._binarizer = network.encoder, network.binarizer
        self._extra_steps = network.extra_steps
        self._pixels = pixels
        self._decoder = DecoderLoop(network, len(pixels), *pixels.shape[2:])
        self._states: list[State] | None = None
        self._iterations = 0

    def step(self, active: Tensor) -> tuple[Tensor, Tensor]:
        """Bits of the next iteration in the active blocks, bool [B, h, w], and the reconstruction."""
        residual = (self._pixels - self._decoder.picture) * self._decoder.gain
        for _ in range(1 + self._extra_steps(self._iterations)):
            features, self._states = self._encoder(residual, self._states)
        self._iterations += 1
        bits = self._binarizer(features) * active[:, None]
        return bits, self._decoder.step(bits, active)


class DecoderLoop:
    """The decoder's side of the loop for one batch of pictures.

    Attributes:
        picture: the reconstruction so far, float32 [B, 3, H, W].
        gain: what the next residual is multiplied by, broadcast to the picture.
    """

    def __init__(self, network: RecurrentNetwork, batch: int, height: int, width: int) -> None:
        self._network = network
        self._states: list[State] | None = None
        self._iterations = 0
        like = network.decoder.tail.weight
        self.picture = torch.full((batch, 3, height, width), GREY, device=like.device)
        self.gain = torch.ones(1, device=like.device)
        self._linear: LinearReconstruction | None = None
        if network.path is not None:
            products = torch.zeros(
                batch, network.shape.components, height // BLOCK, width // BLOCK, device=like.device
            )
            self._linear = LinearReconstruction(network.path, products, GREY)

    def step(self, bits: Tensor, active: Tensor) -> Tensor:
        """Merge the bits of one iteration, as in `Iteration`; returns the new reconstruction."""
        path = self._network.path
        if path is None or self._linear is None:
            base = GREY if self._network.shape.reconstruction == "one_shot" else self.picture
            picture = base + self._decoded(bits) / self.gain
        else:
            linear = self._linear.add(digits_of_bits(bits))
            said = [bits, path.normalised(self._linear.products), self._name(bits)]
            output = self._decoded(torch.cat(said, dim=1), linear)
            picture = linear + path.remaining[self._iterations] * output
        self._iterations += 1
        changed = active[:, None].repeat_interleave(BLOCK, 2).repeat_interleave(BLOCK, 3)
        self.picture = torch.where(changed, picture, self.picture)
        if self._network.gain is not None:
            self.gain = self._network.gain(self.picture)
        return self.picture

    def _decoded(self, said: Tensor, linear: Tensor | None = None) -> Tensor:
        """What the decoder says in this iteration, its states moved along."""
        for _ in range(1 + self._network.extra_steps(self._iterations)):
            output, self._states = self._network.decoder(said, self._states, linear)
        decoded: Tensor = output
        return decoded

    def _name(self, bits: Tensor) -> Tensor:
        """Planes that tell the iteration: [B, iterations, h, w], all 0 but one."""
        name = bits.new_zeros(len(bits), self._network.shape.iterations, *bits.shape[2:])
        name[:, self._iterations] = 1
        return name
