"""What a codec tells the common training loop."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from pillow_neural.networks.adaptive_filter import AdaptiveFilter
from pillow_neural.training.data import CropSampler, Pixels

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


class StepResult(NamedTuple):
    """The loss to differentiate and the means to log: bits per pixel and PSNR in dB."""

    loss: Tensor
    bpp: Tensor
    psnr: Tensor


class Packed(NamedTuple):
    """Contents of a weights file: tensors and string metadata, as safetensors takes them."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @classmethod
    def of(cls, shape: DataclassInstance, largest: int, tensors: dict[str, Tensor], **facts: str) -> Packed:
        """Those that `pillow_neural.codecs.shared.read_weights` reads.

        Args:
            shape: of the network.
            largest: sum of integers that was proven to be exact.
            tensors: all of them.
            facts: what else was measured.
        """
        fields = json.dumps(dataclasses.asdict(shape))
        return cls(tensors, {"network_shape": fields, "largest_integer_sum": str(largest), **facts})


@dataclass(frozen=True, slots=True)
class Recipe:
    """A codec's recipe.

    Attributes:
        build: makes the network, untrained.
        initialise: data-driven start of the weights, once, before the first step.
        step: loss of one batch, uint8 pixels [B, 3, H, W] on the network's device.
        pack: weights file of a trained network; gets a sampler of training crops for statistics and
            photographs, uint8 [H, W, 3], that were held out, for calibration.
        slow: name fragments of parameters that learn at a tenth of the rate.
        quick: of those that learn at five times the rate.
        use_filter: has the network train with the filter that decoded pixels pass, once there is one.
        widen: fits tensors of a weights file to a network that has grown since.
        balance: moves quantisation steps to where errors cost as much in every channel.
        crop, batch, learning_rate: defaults, open to the command line.
    """

    build: Callable[[], nn.Module]
    initialise: Callable[[nn.Module, CropSampler], None]
    step: Callable[[nn.Module, Tensor, torch.Generator], StepResult]
    pack: Callable[[nn.Module, CropSampler, Sequence[Pixels]], Packed]
    slow: tuple[str, ...] = ()
    quick: tuple[str, ...] = ()
    use_filter: Callable[[nn.Module, AdaptiveFilter], None] | None = None
    widen: Callable[[nn.Module, Mapping[str, Tensor]], Mapping[str, Tensor]] | None = None
    balance: Callable[[nn.Module, CropSampler], None] | None = None
    crop: int = 256
    batch: int = 4
    learning_rate: float = 4e-4

    def use_found_filter(
        self, network: nn.Module, tensors: Mapping[str, Tensor], device: torch.device
    ) -> AdaptiveFilter | None:
        """The filter of a weights file or a checkpoint, if any, which the network then trains with."""
        found = AdaptiveFilter.found(tensors, device)
        if found is not None and self.use_filter is not None:
            self.use_filter(network, found)
        return found


Shape = TypeVar("Shape")


def find_recipe(codec: str, settings: Sequence[str] = (), tune: str | None = None) -> Recipe:
    """The recipe of a codec, such as "nic2026".

    Args:
        codec: a module of pillow_neural.training.recipes.
        settings: "name=value", fields of the network's shape to change, where the recipe has a SHAPE and a
            `recipe_for`.
        tune: metric that another recipe of the module is for, where it has them as TUNED.

    Raises:
        ValueError: there is no such recipe or setting.
    """
    try:
        module = importlib.import_module(f"pillow_neural.training.recipes.{codec}")
        recipe: Recipe = module.RECIPE
    except (ModuleNotFoundError, AttributeError) as error:
        raise ValueError(f"there is no recipe {codec!r}") from error
    if tune is not None:
        return _tuned(codec, settings, getattr(module, "TUNED", {}), tune)
    if not settings:
        return recipe
    if not hasattr(module, "recipe_for"):
        raise ValueError(f"the recipe {codec!r} has no settings")
    changed: Recipe = module.recipe_for(with_settings(module.SHAPE, settings))
    return changed


def run_name(codec: str, tune: str | None = None) -> str:
    """What the files of a training run are named by: the codec, and what it is tuned for."""
    return f"{codec}-{tune}" if tune else codec


def _tuned(codec: str, settings: Sequence[str], tuned: Mapping[str, Recipe], tune: str) -> Recipe:
    if tune not in tuned:
        known = ", ".join(tuned) or "none"
        raise ValueError(f"the recipe {codec!r} cannot be tuned for {tune!r}; there is {known}")
    if settings:
        raise ValueError(f"the recipe {codec!r} tuned for {tune} has no settings")
    return tuned[tune]


def with_settings(shape: Shape, settings: Sequence[str]) -> Shape:
    """A dataclass with some fields set from "name=value", in the types of the values they had.

    Raises:
        ValueError: there is no such field, or its type cannot have this value.
    """
    known = {field.name: getattr(shape, field.name) for field in dataclasses.fields(shape)}  # type: ignore[arg-type]
    changes = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        if name not in known:
            raise ValueError(f"no setting {name!r}; there are {', '.join(known)}")
        if isinstance(known[name], bool):
            if text not in ("true", "false"):
                raise ValueError(f"{name} is true or false, not {text!r}")
            changes[name] = text == "true"
        else:
            changes[name] = type(known[name])(text)
    return dataclasses.replace(shape, **changes)  # type: ignore[type-var]
