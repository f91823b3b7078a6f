"""Recipe of johnston2018: a quarter of the paper's channels; `--set width=1` for all of them."""

from __future__ import annotations

from pillow_neural.networks.recurrent_codec import RecurrentShape
from pillow_neural.training.recipes.recurrent import recipe_for

SHAPE = RecurrentShape(
    unit="gru",
    iterations=24,
    priming=3,
    ssim_weighted=True,
    adaptive=True,
    components=192,
)
RECIPE = recipe_for(SHAPE)
