"""bfloat16 where the processor multiplies it in hardware, for what needs no more than its 8 bits."""

from __future__ import annotations

import torch


def multiplies_bfloat16() -> bool:
    """Whether this processor has instructions for it; without them it is slower than float32."""
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def small_shares(device: torch.device) -> torch.autocast:
    """Run convolutions on a processor in bfloat16: for networks whose share of a pixel is a few levels.

    What is lost of it is far below a level. Nothing that later symbols depend on may be computed so.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=device.type == "cpu" and multiplies_bfloat16())
