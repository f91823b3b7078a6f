"""One codec a process for each weights and device, loaded once, whoever else is waiting."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest

from pillow_neural.codecs import loading
from pillow_neural.weights import WeightsEntry

SLOW, QUICK = (WeightsEntry("nic2026", f"{d}.safetensors", 1, d * 64, "MIT") for d in "ab")


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were loaded."""
    names: list[str] = []

    def load(path: Path, device: str) -> object:
        names.append(path.name)
        return object()

    monkeypatch.setattr(loading, "_LOADED", {})
    monkeypatch.setattr(loading, "_LOADING", {})
    monkeypatch.setattr(loading.importlib, "import_module", lambda name: SimpleNamespace(load=load))
    monkeypatch.setattr(loading, "locate", lambda entry: Path(entry.file))
    return names


def test_a_slow_download_holds_up_no_other(loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    started, arrived = threading.Event(), threading.Event()

    def locate(entry: WeightsEntry) -> Path:
        if entry is SLOW:
            started.set()
            assert arrived.wait(30)
        return Path(entry.file)

    monkeypatch.setattr(loading, "locate", locate)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(loading.load_codec, SLOW, "cpu")
        assert started.wait(30)
        other = ThreadPoolExecutor(1).submit(loading.load_codec, QUICK, "cpu")
        assert other.result(timeout=30) is not None
        assert loaded == ["b.safetensors"]
        arrived.set()
        assert waiting.result(timeout=30) is not None


def test_threads_that_want_the_same_codec_get_one(loaded: list[str]) -> None:
    with ThreadPoolExecutor(8) as pool:
        codecs = list(pool.map(lambda _: loading.load_codec(QUICK, "cpu"), range(32)))
    assert len(set(map(id, codecs))) == 1
    assert loaded == ["b.safetensors"]
    assert loading.load_codec(QUICK, "cuda") is not codecs[0]


def test_a_failure_can_be_tried_again(loaded: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    good = loading.locate

    def missing(entry: WeightsEntry) -> Path:
        raise OSError("no connection")

    monkeypatch.setattr(loading, "locate", missing)
    with pytest.raises(OSError, match="no connection"):
        loading.load_codec(QUICK, "cpu")
    monkeypatch.setattr(loading, "locate", good)
    loading.load_codec(QUICK, "cpu")
    assert loaded == ["b.safetensors"]
