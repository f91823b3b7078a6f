"""Where codecs run: devices and threads, for the whole program and in a block."""

import io
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from PIL import Image

import pillow_neural
from pillow_neural import devices
from pillow_neural.devices import DEVICE_VARIABLE, chosen_threads, device
from tests.conftest import FakeCodec


def test_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_chosen_device", None)
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    assert device() in ("cpu", "cuda")
    monkeypatch.setenv(DEVICE_VARIABLE, "toaster")
    with pytest.raises(ValueError, match="toaster"):
        device()
    pillow_neural.set_device("cpu")
    assert device() == "cpu"
    pillow_neural.set_device("cuda:99")
    with pytest.raises(ValueError, match="choose one of: cpu"):
        device()
    with pytest.raises(TypeError):
        pillow_neural.set_device(0)  # type: ignore[arg-type]


def test_workers_of_a_data_loader_leave_cuda_to_those_who_ask_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_chosen_device", None)
    monkeypatch.delenv(DEVICE_VARIABLE, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    assert device() == "cuda"
    monkeypatch.setattr(torch.utils.data, "get_worker_info", object)
    assert device() == "cpu"
    monkeypatch.setenv(DEVICE_VARIABLE, "cuda:0")
    assert device() == "cuda:0"


@pytest.fixture
def usual_threads(threads: Callable[[int], None]) -> None:
    threads(3)


@pytest.mark.usefixtures("usual_threads")
def test_threads_hold_while_coding_and_not_longer(
    fake_codec: FakeCodec, monkeypatch: pytest.MonkeyPatch, make_picture: Callable[..., Image.Image]
) -> None:
    seen = []
    encode, decode = fake_codec.encode, fake_codec.decode
    monkeypatch.setattr(
        fake_codec, "encode", lambda *given: seen.append(torch.get_num_threads()) or encode(*given)
    )
    monkeypatch.setattr(
        fake_codec, "decode", lambda *given: seen.append(torch.get_num_threads()) or decode(*given)
    )
    monkeypatch.setattr(devices, "_chosen_threads", None)

    def code() -> None:
        out = io.BytesIO()
        make_picture().save(out, "NIC")
        Image.open(out).load()

    code()
    pillow_neural.set_threads(2)
    code()
    with pillow_neural.options(threads=1):
        code()
    pillow_neural.set_threads(None)
    code()
    assert seen == [3, 3, 2, 2, 1, 1, 3, 3]
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("usual_threads")
def test_threads_are_restored_after_an_error() -> None:
    with pytest.raises(KeyError), pillow_neural.options(threads=1), chosen_threads():
        raise KeyError
    assert torch.get_num_threads() == 3


@pytest.mark.usefixtures("usual_threads")
def test_concurrent_choices_of_threads_do_not_disturb_each_other() -> None:
    together = threading.Barrier(2, timeout=20)

    def seen(count: int) -> tuple[int, int]:
        with pillow_neural.options(threads=count), chosen_threads():
            together.wait()
            inside = torch.get_num_threads()
            together.wait()
        together.wait()
        return inside, torch.get_num_threads()

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(seen, [1, 2])) == [(1, 3), (2, 3)]
    assert torch.get_num_threads() == 3


def test_options_hold_in_their_block_and_thread_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_chosen_device", "cuda:98")
    with pillow_neural.options(device="cpu"):
        assert device() == "cpu"
        with pillow_neural.options(device="cuda:99"), pytest.raises(ValueError, match="'cuda:99'"):
            device()
        with pillow_neural.options(threads=1):
            assert device() == "cpu"
        with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="'cuda:98'"):
            pool.submit(device).result()
    with pytest.raises(ValueError, match="'cuda:98'"):
        device()


def test_options_are_checked_before_the_block_begins() -> None:
    with pytest.raises(TypeError, match="device"), pillow_neural.options(device=0):  # type: ignore[arg-type]
        pytest.fail("the block ran")
    for wrong, error in ((0, ValueError), (-2, ValueError), (True, TypeError), (1.0, TypeError)):
        with pytest.raises(error, match="threads must be"), pillow_neural.options(threads=wrong):  # type: ignore[arg-type]
            pytest.fail("the block ran")
        with pytest.raises(error, match="threads must be"):
            pillow_neural.set_threads(wrong)  # type: ignore[arg-type]
