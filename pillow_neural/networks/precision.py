"""Numbers that processors multiply faster than float32: bfloat16 for what needs no more than its 8 bits, and
bytes for what is whole."""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

AMD = "AuthenticAMD"


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor gains by it: with matrix tiles, or with the vector instructions of AMD.

    Intel's vector instructions do not: a convolution of 128 channels takes 1.7 times as long as in float32.
    Without any it takes 10 times as long.
    """
    return bool(
        torch.cpu._is_amx_tile_supported() or (torch.cpu._is_avx512_bf16_supported() and _is_made_by_amd())
    )


def _is_made_by_amd() -> bool:
    linux = Path("/proc/cpuinfo")
    return AMD in (linux.read_text() if linux.exists() else platform.processor())


def small_shares(device: torch.device) -> torch.autocast:
    """Run convolutions on a processor in bfloat16: for networks whose share of a pixel is a few levels.

    What is lost of it is far below a level. Nothing that the entropy coder is told may be computed so.
    """
    return torch.autocast("cpu", torch.bfloat16, enabled=device.type == "cpu" and multiplies_bfloat16())


@cache
def multiplies_bytes() -> bool:
    """Whether this processor multiplies signed bytes exactly: with instructions that add up to 32 bits.

    Older ones add pairs of products up to 16 bits, which overflow. So it is tried.
    """
    if not torch.cpu._is_vnni_supported():
        return False
    largest = torch.iinfo(torch.int8).max
    rows = (
        torch.tensor([largest, -largest], dtype=torch.int8).repeat(32)[:, None].expand(-1, 256).contiguous()
    )
    found = torch._int_mm(rows, rows.T.contiguous())
    return bool(torch.equal(found, rows.int() @ rows.int().T))
