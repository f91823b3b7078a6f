"""How imageio learns of .nic, whatever is imported first; most tests have a small stand-in for imageio."""

import subprocess
import sys
from pathlib import Path

import pytest

STAND_IN = {
    "__init__.py": "from . import config",
    "config/__init__.py": "from .parts import *\nattempts = globals().get('attempts', 0) + 1",
    "config/parts.py": """
from types import SimpleNamespace
class PluginConfig(SimpleNamespace): pass
class FileExtension(SimpleNamespace): pass
known_plugins, known_extensions, extension_list = {"pillow": None}, {}, []
""",
}

CHECKS = """
import importlib, sys
from importlib.machinery import SourceFileLoader

before = list(sys.meta_path)

def is_registered():
    from imageio import config
    return (
        list(config.known_plugins) == ["pillow", "NIC"]
        and [extension.priority for extension in config.known_extensions[".nic"]] == [["NIC", "pillow"]]
        and [extension.extension for extension in config.extension_list] == [".nic"]
    )

def is_clean():
    module = sys.modules["imageio.config"]
    loaders = (module.__loader__, module.__spec__.loader)
    return sys.meta_path == before and all(type(loader) is SourceFileLoader for loader in loaders)
"""


def _run(script: str, folder: Path) -> None:
    subprocess.run([sys.executable, "-c", CHECKS + script], check=True, cwd=folder)


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    for name, text in STAND_IN.items():
        path = tmp_path / "imageio" / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    "script",
    [
        pytest.param("import pillow_neural, imageio", id="before imageio"),
        pytest.param("import imageio, pillow_neural", id="after imageio"),
        pytest.param("import pillow_neural, imageio.config.parts", id="through a submodule"),
        pytest.param(
            "import pillow_neural; pillow_neural.register_imageio(); import imageio;"
            "pillow_neural.register_imageio()",
            id="several times",
        ),
        pytest.param(
            "import pillow_neural; importlib.reload(pillow_neural.imageio_hook);"
            "importlib.reload(pillow_neural); import imageio; importlib.reload(pillow_neural)",
            id="reloading pillow_neural",
        ),
        pytest.param(
            "import pillow_neural, imageio; importlib.reload(imageio.config);"
            "assert imageio.config.attempts == 2",
            id="reloading imageio.config",
        ),
        pytest.param(
            "import pillow_neural, importlib.util; importlib.util.find_spec('imageio'); import imageio",
            id="looking for imageio first",
        ),
        pytest.param(
            "import pillow_neural; from concurrent.futures import ThreadPoolExecutor\n"
            "with ThreadPoolExecutor(8) as pool: list(pool.map(importlib.import_module, ['imageio'] * 8))",
            id="eight threads",
        ),
    ],
)
def test_registered_once_and_import_system_left_clean(script: str, stand_in: Path) -> None:
    _run(script + "\nassert is_registered() and is_clean()", stand_in)


def test_nothing_is_imported_before_imageio_is(stand_in: Path) -> None:
    _run(
        "import pillow_neural\n"
        "assert not any(name.startswith('imageio') for name in sys.modules)\n"
        "import imageio\n"
        "assert is_registered() and 'pillow_neural.imageio_plugin' not in sys.modules",
        stand_in,
    )


def test_failing_import_of_imageio_fails_as_before_and_is_registered_by_the_next(stand_in: Path) -> None:
    (stand_in / "imageio/config/parts.py").write_text("1 / 0")
    _run(
        "import pillow_neural, pathlib\n"
        "try: import imageio\n"
        "except ZeroDivisionError: pass\n"
        "else: raise AssertionError\n"
        "assert 'imageio.config' not in sys.modules\n"
        f"pathlib.Path('imageio/config/parts.py').write_text({STAND_IN['config/parts.py']!r})\n"
        "importlib.invalidate_caches()\n"
        "import imageio\n"
        "assert is_registered() and is_clean()",
        stand_in,
    )


def test_missing_imageio_is_missing_as_before(tmp_path: Path) -> None:
    _run(
        "import pillow_neural\n"
        "sys.path = [folder for folder in sys.path if 'packages' not in folder]\n"
        "try: import imageio\n"
        "except ModuleNotFoundError as error: assert error.name == 'imageio'\n"
        "else: raise AssertionError",
        tmp_path,
    )


def test_imported_anew_after_removal(stand_in: Path) -> None:
    _run(
        "import pillow_neural, imageio\n"
        "del sys.modules['imageio.config'], sys.modules['imageio.config.parts'], sys.modules['imageio']\n"
        "pillow_neural.register_imageio()\n"
        "import imageio\n"
        "assert is_registered() and is_clean()",
        stand_in,
    )


WRITE = """
import numpy as np, imageio.v3 as iio
iio.imwrite("x.nic", np.zeros((8, 8, 3), np.uint8))
"""


def test_without_the_plugin_imageio_writes_a_tiff_under_the_name_of_a_nic(tmp_path: Path) -> None:
    pytest.importorskip("tifffile")
    subprocess.run([sys.executable, "-c", WRITE], check=True, cwd=tmp_path)
    assert (tmp_path / "x.nic").read_bytes().startswith(b"II*\0")


def test_with_the_plugin_imageio_writes_a_nic_under_that_name(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", "import pillow_neural" + WRITE], check=True, cwd=tmp_path)
    assert (tmp_path / "x.nic").read_bytes().startswith(b"\x89NIC")
