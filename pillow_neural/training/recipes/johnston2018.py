"""Recipe of johnston2018: a quarter of the paper's channels; `--set width=1` for all of them.

Spatially adaptive bit rates are off: digits of the linear path cost next to nothing where there is little to
say, and stopping blocks at one distortion for all costs more than it saves (figures in training/NOTES.md).
`--set adaptive=true` switches them on.
"""

from __future__ import annotations

from pillow_neural.networks.recurrent_transforms import RecurrentShape
from pillow_neural.training.recipes.recurrent import recipe_for

SHAPE = RecurrentShape(
    unit="gru",
    iterations=24,
    priming=3,
    ssim_weighted=True,
    components=192,
)
RECIPE = recipe_for(SHAPE)
