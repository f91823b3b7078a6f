"""Recipe of toderici2016: a quarter of the paper's channels; `--set width=1` for all of them."""

from __future__ import annotations

from pillow_neural.networks.recurrent_transforms import RecurrentShape
from pillow_neural.training.recipes.recurrent import recipe_for

SHAPE = RecurrentShape(unit="residual_gru", iterations=24, components=192)
RECIPE = recipe_for(SHAPE)
