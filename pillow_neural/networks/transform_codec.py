"""The default codec's network: transforms, gains and entropy model in one module.

pixels --(compressed)--> (pixel stage) --> analysis --> y --x gains--> r --PhasedPrior--> decoded r
    decoded r --x inverse gains--> y' --> synthesis --> filter --> pixel stage --(expanded)--> pixels
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pillow_neural.networks.adaptive_filter import HALO as FILTER_HALO
from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.networks.adjustment import HALO as ADJUSTMENT_HALO
from pillow_neural.networks.adjustment import STRENGTHS, UNITS, Stages, adjusted, with_colours
from pillow_neural.networks.companding import HALO as COMPANDING_HALO
from pillow_neural.networks.companding import LEVELS, compressed, expanded
from pillow_neural.networks.directions import STEP as DIRECTION_STEP
from pillow_neural.networks.directions import Directions
from pillow_neural.networks.integer import straight_through
from pillow_neural.networks.masking import masking_weight, sensitivity
from pillow_neural.networks.ms_ssim import ms_ssim, smallest_side
from pillow_neural.networks.pixel_stage import PixelStage, Tail
from pillow_neural.networks.prior import PhasedPrior
from pillow_neural.networks.prior_training import PriorOutput, estimate
from pillow_neural.networks.rate import RateCurve
from pillow_neural.networks.transform import Analysis, Synthesis

HYPER_BLOCK = 64
SMALLEST_LAMBDA = 10.0
LARGEST_LAMBDA = 25_000.0
CONTEXT_VALUE = 1.4
LEADING_CONTEXT_VALUE = 2.0
LEADING_LATENTS = 30
UNMASKED_VALUE = 1.6
MASKED_VALUE = 1.1
"""How many times more errors count in the choice of symbols one by one: where they are weighed by contrast
and, above, where they are not."""

SIMILARITY_UNIT = 50.0
"""1 - MS-SSIM per squared error that costs as many bits: 48 to 62 between 0.06 and 1.6 bpp on Kodak."""
MEANS_SIDE = 8
MEANS_VALUE = 0.1
"""What squared errors of means over 8x8 pixels count with MS-SSIM, of what they count without."""
COMPANDED_VALUE = 0.5
"""What a squared error costs with MS-SSIM before contrast is expanded, of what it costs without, about."""
SLOPE = 1.5
"""Times lambda, what errors cost in training: what they do between rate positions, as symbols are chosen."""
CURVATURE = 0.6
"""What errors of latents cost, in units of their weight: 0.45 to 0.75 in PSNR, for what follows the linear
transform mends some of them, and as much in MS-SSIM with errors weighed by contrast."""


class TrainingOutput(NamedTuple):
    """Reconstruction [B, 3, H, W] in 0..1 (not clamped) and estimated bits of each picture [B]."""

    reconstruction: Tensor
    bits: Tensor


class AsCoded(NamedTuple):
    """Latents in quantisation steps, bits that a squared step of error in them is worth, what came of it."""

    latents: Tensor
    weight: Tensor
    output: PriorOutput


@dataclass(frozen=True, slots=True)
class NetworkShape:
    """Widths and depths; stored with the weights.

    `masking`: whether the network is for MS-SSIM, and symbols are chosen with errors weighed by contrast;
    decoding does not depend on it. `companding`: exponent of `pillow_neural.networks.companding`, 0 for none.
    `pixel_features`, `pixel_layers`: of the pixel stage; without features there is none.
    `analysis_pixel_features`, `analysis_pixel_layers`: of the analysis's, likewise. `hidden_sign_share`: see
    `pillow_neural.entropy.hidden_signs.capacities`.
    """

    latents: int = 256
    features: int = 128
    analysis_blocks: int = 2
    synthesis_blocks: int = 3
    hyper: int = 64
    hyper_hidden: int = 96
    mean_features: int = 128
    mean_hidden: int = 160
    scale_features: int = 64
    scale_hidden: int = 96
    knots: int = 6
    masking: bool = False
    companding: float = 0.0
    pixel_features: int = 0
    pixel_layers: int = 2
    analysis_pixel_features: int = 0
    analysis_pixel_layers: int = 2
    hidden_sign_share: int = 180


def lambda_of_rate(rate: Tensor) -> Tensor:
    """Weight of the squared error at rate position 0..1, log-linear: loss = bpp + lambda * MSE."""
    ratio = math.log(LARGEST_LAMBDA / SMALLEST_LAMBDA)
    return SMALLEST_LAMBDA * torch.exp(rate * ratio)


def squared_error(reconstruction: Tensor, pixels: Tensor) -> Tensor:
    """Mean squared error of pictures: two [B, P, H, W] in 0..1 -> [B]."""
    return (reconstruction - pixels).square().mean(dim=(1, 2, 3))


def mixed_distortion(reconstruction: Tensor, pixels: Tensor, halvings: int = 0) -> Tensor:
    """1 - MS-SSIM and a tenth of the squared error of 8x8 means, in units of squared errors: [B].

    Of pictures in 0..1, [B, P, H, W], whose sides were halved before as often as said.

    Bits and rate positions stay those of squared errors: a unit of 1 - MS-SSIM is worth what makes it cost
    the same bits, at every rate. The means are there because MS-SSIM is nearly blind to brightness and colour
    of areas. Of pictures that are too small for MS-SSIM the whole is squared error.
    """
    if min(pixels.shape[2:]) < smallest_side(halvings):
        return squared_error(reconstruction, pixels)
    of_means = F.avg_pool2d(reconstruction - pixels, MEANS_SIDE >> halvings).square().mean(dim=(1, 2, 3))
    return (1 - ms_ssim(reconstruction, pixels, halvings)) / SIMILARITY_UNIT + MEANS_VALUE * of_means


def initial_log_gains(shape: NetworkShape) -> Tensor:
    """Optimal for uniform quantisation at high rate: lambda = 18 / ln 2 * gain**2; [knots, C]."""
    rate = torch.linspace(0, 1, shape.knots)
    gains = torch.sqrt(lambda_of_rate(rate) * math.log(2) / 18)
    return torch.log(gains)[:, None].expand(-1, shape.latents).contiguous()


def _pixel_stage(features: int, layers: int) -> PixelStage | None:
    return PixelStage(features, layers) if features else None


class TransformCodec(nn.Module):
    """All trained parts of the default codec; forward is the training side.

    Attributes:
        post_filter: what pixels pass between synthesis and pixel stage. It is computed, not trained, and the
            pixel stage waits until there is one.
        directions: those that pictures can move the pixel stage's tail in, likewise.
    """

    def __init__(self, shape: NetworkShape) -> None:
        super().__init__()
        self.shape = shape
        self.analysis = Analysis(
            shape.latents,
            shape.features,
            shape.analysis_blocks,
            shape.knots,
            _pixel_stage(shape.analysis_pixel_features, shape.analysis_pixel_layers),
        )
        self.synthesis = Synthesis(shape.latents, shape.features, shape.synthesis_blocks, shape.knots)
        self.prior = PhasedPrior(
            shape.latents,
            shape.hyper,
            shape.hyper_hidden,
            shape.mean_features,
            shape.mean_hidden,
            shape.scale_features,
            shape.scale_hidden,
            shape.knots,
            shape.hidden_sign_share,
        )
        log_gains = initial_log_gains(shape)
        self.gains = RateCurve(log_gains)
        self.inverse_gains = RateCurve(-log_gains)
        self.pixel_stage = _pixel_stage(shape.pixel_features, shape.pixel_layers)
        self.post_filter: AdaptiveFilter | None = None
        self.directions: Directions | None = None

    def unit(self, rate: Tensor) -> Tensor:
        """Expected magnitude of each latent in quantisation steps: rate [B] -> [B, C, 1, 1]."""
        gains: Tensor = self.gains(rate).detach()
        return self.synthesis.spread[:, None, None] * gains

    def error_weight(self, rate: Tensor) -> Tensor:
        """Bits that a squared quantisation step of error in a latent is worth, [B, C, 1, 1].

        lambda * MSE of a picture, spread over the three samples of a pixel and seen through an (almost)
        orthonormal synthesis.
        """
        inverse_gains: Tensor = self.inverse_gains(rate).detach()
        return lambda_of_rate(rate)[:, None, None, None] / 3 * inverse_gains.square()

    def context_value(self) -> Tensor:
        """How many times an error counts, for a symbol that is kept also informs the phases after it.

        Those of the leading components do so most. [C, 1, 1].
        """
        number = torch.arange(self.shape.latents, device=self.synthesis.spread.device)[:, None, None]
        return CONTEXT_VALUE + LEADING_CONTEXT_VALUE * torch.exp(-number / LEADING_LATENTS)

    def choice_value(self) -> Tensor:
        """How many times an error counts where symbols are chosen one by one, [C, 1, 1]."""
        return (MASKED_VALUE if self.shape.masking else UNMASKED_VALUE) * self.context_value()

    def distortion(self, reconstruction: Tensor, pixels: Tensor) -> Tensor:
        """What the network is for having little of: two [B, P, H, W] in 0..1 -> [B]."""
        return (mixed_distortion if self.shape.masking else squared_error)(reconstruction, pixels)

    @property
    def staged_value(self) -> float:
        """What a squared error of pixels costs, before `expanded`, of what errors are counted in."""
        return COMPANDED_VALUE if self.shape.masking else 1.0

    def lacking(self, derivative: Tensor, samples: int) -> Tensor:
        """What pixels lack before `expanded`, [B, P, H, W], by the derivative of `distortion` by them.

        With squared errors, what is wanted less what there is; else what would cost as much if they counted.

        samples: of a picture, that distortion is a mean over.
        """
        return derivative * (-samples / (2 * self.staged_value))

    def forward(self, pixels: Tensor, rate: Tensor, as_coded: bool = False) -> TrainingOutput:
        """Train on pixels [B, 3, H, W] in 0..1, H and W multiples of 64, at rate positions [B] in 0..1.

        as_coded: choose symbols as the encoder does, instead of noise for the rate and plain rounding. A
            latent that moves then changes its symbol where that and the next best cost the same to a choice
            that knows the error of this latent alone. There the change costs as many bits as it saves of that
            error, by its value in the choice, and what it does to the distortion: so much gradient latents
            have, and those whose symbol is sure have none. Where no choice is open bits have no gradient.
        """
        if as_coded:
            latents, weight, (decoded, bits, response, change) = self.as_coded(pixels, rate)
            error = (decoded - latents).detach()
            known = weight * (self.choice_value() * (2 * error + change) - SLOPE * CURVATURE * change)
            bits = straight_through(bits - (response * known * latents).sum(dim=(1, 2, 3)), bits)
        else:
            latents = self.latents(self.seen(pixels), rate)
            decoded, bits, *_ = estimate(self.prior, latents.detach(), self.unit(rate), rate)
        return TrainingOutput(self.finish(self.reconstruct(decoded, rate), rate), bits)

    @torch.no_grad()
    def seen(self, pixels: Tensor) -> Tensor:
        """Pixels [B, P, 16h, 16w] in 0..1 as the analysis sees them."""
        exponent = self.shape.companding
        return compressed(pixels, exponent) if exponent else pixels

    def latents(self, seen: Tensor, rate: Tensor) -> Tensor:
        """Latents in quantisation steps, [B, C, h, w], of what `seen` gave."""
        latents: Tensor = self.analysis(seen, rate) * self.gains(rate)
        return latents

    def as_coded(self, pixels: Tensor, rate: Tensor) -> AsCoded:
        """What the encoder makes of pixels; arguments as for `forward`."""
        seen = self.seen(pixels)
        latents, weight = self.latents(seen, rate), self.masked_error_weight(seen, rate)
        value = weight * self.choice_value()
        return AsCoded(latents, weight, estimate(self.prior, latents, self.unit(rate), rate, value))

    def masked_error_weight(self, seen: Tensor, rate: Tensor) -> Tensor:
        """`error_weight`, by contrast where the network is for MS-SSIM: [B, C, 1, 1] or [B, C, H, W]."""
        weight = self.error_weight(rate)
        return weight * masking_weight(sensitivity(seen)) if self.shape.masking else weight

    def reconstruct(self, decoded: Tensor, rate: Tensor, reduction: int = 1, planes: int = 3) -> Tensor:
        """Pixels in 0..1, not clamped, before `finish`, of decoded latents in steps [B, C, h, w].

        Args:
            decoded: what the entropy model decoded.
            rate: [B] in 0..1.
            reduction: 1 for [B, 3, 16h, 16w]; 2, 4, 8 or 16 for the linear transform's means over so many
                pixels each way.
            planes: 3 for RGB, 1 for grey.
        """
        step = self.inverse_gains(rate)
        latents = decoded * step
        if reduction > 1:
            return self.synthesis.reduced(latents, reduction, planes) + 0.5
        pixels: Tensor = self.synthesis(latents, step.detach(), rate, planes)
        return pixels + 0.5

    @property
    def finish_halo(self) -> int:
        """Pixels around its own that a finished pixel depends on."""
        stage = 0 if self.pixel_stage is None else self.pixel_stage.halo
        companding = COMPANDING_HALO if self.shape.companding else 0
        return FILTER_HALO + stage + ADJUSTMENT_HALO + companding

    def finish(
        self, pixels: Tensor, rate: Tensor, reduction: int = 1, strengths: Tensor | None = None
    ) -> Tensor:
        """What filter, pixel stage and companding, as far as there are any, make of `reconstruct`'s pixels.

        Of reduced ones contrast is expanded alone. Strengths, [B, 5 or more], are those of
        `pillow_neural.networks.adjustment`.
        """
        if reduction == 1:
            pixels = self.finish_compressed(pixels, rate, strengths)
        return self.expanded(pixels, reduction)

    def finish_compressed(self, pixels: Tensor, rate: Tensor, strengths: Tensor | None = None) -> Tensor:
        """The first part of `finish`: all but that pixels get their contrast back."""
        stages = self._staged(pixels, rate, strengths)
        if strengths is None:
            return stages.staged
        change = stages.staged - stages.filtered
        return adjusted(stages.filtered + with_colours(change, strengths), strengths)

    def expanded(self, pixels: Tensor, reduction: int = 1) -> Tensor:
        """The last part of `finish`: pixels with their contrast, where it was companded."""
        exponent, levels = self.shape.companding, LEVELS + 1 - reduction.bit_length()
        return expanded(pixels, exponent, levels) if exponent else pixels

    def stages(self, decoded: Tensor, rate: Tensor, planes: int) -> Stages:
        """What becomes of decoded latents until contrast is expanded; for arguments see `reconstruct`."""
        return self._staged(self.reconstruct(decoded, rate, planes=planes), rate)

    def _staged(self, pixels: Tensor, rate: Tensor, strengths: Tensor | None = None) -> Stages:
        """What filter and pixel stage, as far as there are any, make of pixels in 0..1."""
        if self.post_filter is None:
            return Stages(pixels, pixels, pixels, None)
        filtered = self.post_filter(pixels, rate)
        if strengths is not None:
            filtered = torch.lerp(pixels, filtered, 1 + strengths[:, 0, None, None, None])
        if self.pixel_stage is None:
            return Stages(pixels, filtered, filtered, None)
        features = self.pixel_stage.features(filtered, rate)
        change = self.pixel_stage.change(features, pixels.shape[1], self._own_tails(strengths))
        return Stages(pixels, filtered, filtered + change, features)

    def _own_tails(self, strengths: Tensor | None) -> list[Tail]:
        if strengths is None or strengths.shape[1] == STRENGTHS:
            return []
        assert self.directions is not None
        return [self.directions.tail(own) for own in strengths[:, STRENGTHS:]]

    @property
    def strength_count(self) -> int:
        """How many strengths a picture may have."""
        return STRENGTHS + (0 if self.directions is None else len(self.directions.kernels))

    def strengths_of(self, numbers: Sequence[tuple[int, ...]], rate: Tensor) -> Tensor | None:
        """What numbers of pictures stand for, [B, S], S as many as any picture has; None if none has any."""
        most = max(map(len, numbers))
        if not most:
            return None
        filled = [own + (0,) * (most - len(own)) for own in numbers]
        return self.strength_units(rate)[:, :most] * torch.tensor(filled, device=rate.device)

    def strength_units(self, rate: Tensor) -> Tensor:
        """What one in the byte of each strength stands for: rate [B] -> [B, S]."""
        units = torch.tensor(UNITS, device=rate.device).expand(len(rate), -1)
        step = DIRECTION_STEP / lambda_of_rate(rate).sqrt()
        return torch.cat([units, step[:, None].expand(-1, self.strength_count - STRENGTHS)], 1)
