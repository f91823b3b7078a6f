"""From a codec's name and weights to a codec on a device, once a process."""

from __future__ import annotations

import importlib
import threading
from typing import cast

from pillow_neural.codecs.contract import Codec
from pillow_neural.codecs.registry import codec_info
from pillow_neural.weights import WeightsEntry, WeightsUnavailableError, default_entry, entry_of_id, locate

_LOCK = threading.Lock()
_LOADING: dict[tuple[str, str], threading.Lock] = {}
_LOADED: dict[tuple[str, str], Codec] = {}


def weights_for_saving(codec: str, tune: str | None = None) -> WeightsEntry:
    """The weights that new pictures of this codec are saved with.

    Args:
        codec: its name.
        tune: one of its `CodecInfo.tunes`; None is the first.

    Raises:
        ValueError: no such codec.
        WeightsUnavailableError: it has no such trained weights yet.
    """
    own = codec_info(codec).tunes[:1]
    entry = default_entry(codec, None if tune in own else tune)
    if entry is None:
        tuned = "" if tune is None else f" tuned for {tune}"
        raise WeightsUnavailableError(f"codec {codec} has no trained weights{tuned} in weights_manifest.toml")
    return entry


def weights_for_opening(codec: str, weights_id: bytes) -> WeightsEntry:
    """The weights that a file names.

    Raises:
        WeightsUnavailableError: this version of pillow-neural doesn't know the codec or the weights.
    """
    entry = entry_of_id(codec, weights_id)
    if entry is None:
        raise WeightsUnavailableError(
            f"this picture needs weights {weights_id.hex()} of codec {codec}, which this version of "
            "pillow-neural does not know; upgrade it: pip install --upgrade pillow-neural"
        )
    return entry


def load_codec(entry: WeightsEntry, device: str) -> Codec:
    """The codec with these weights on this device ("cpu", "cuda", "cuda:1"); kept for the next call.

    Threads that ask for the same one wait for it together; a slow download holds up no other.

    Raises:
        WeightsUnavailableError: the weights file is missing or damaged.
    """
    key = (entry.sha256, device)
    with _LOCK:
        loading = _LOADING.setdefault(key, threading.Lock())
    with loading:
        if key not in _LOADED:
            module = importlib.import_module(codec_info(entry.codec).module)
            _LOADED[key] = cast(Codec, module.load(locate(entry), device))
        return _LOADED[key]
