import configparser
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from pillow_neural import desktop
from pillow_neural.container import MAGIC
from tests.cli_helpers import exif, names, run

Maker = Callable[..., Image.Image]
Output = pytest.CaptureFixture[str]

MIME_FILE = "share/mime/packages/pillow-neural.xml"
THUMBNAILER_FILE = "share/thumbnailers/pillow-neural.thumbnailer"

only_on_linux = pytest.mark.skipif(sys.platform != "linux", reason="desktop files are for Linux")


@pytest.fixture
def no_database(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where update-mime-database is not installed."""
    which = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if "mime" in name else which(name))


@pytest.fixture
def nic_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The installed command, in a folder whose name needs quotes."""
    program = tmp_path / "100% mine" / "nic"
    program.parent.mkdir()
    program.touch()
    monkeypatch.setattr(desktop.sysconfig, "get_path", lambda name: str(program.parent))
    return program


@only_on_linux
@pytest.mark.usefixtures("no_database")
def test_install_writes_type_magic_and_glob(tmp_path: Path, nic_program: Path, capsys: Output) -> None:
    assert run("desktop", "install", "--prefix", str(tmp_path)) == 0
    output = capsys.readouterr().out
    assert f"wrote {tmp_path / MIME_FILE}\n" in output
    assert f"wrote {tmp_path / THUMBNAILER_FILE}\n" in output
    assert "update-mime-database is not installed" in output
    tree = ElementTree.parse(tmp_path / MIME_FILE)
    (mime_type,) = tree.getroot()
    prefix = "{http://www.freedesktop.org/standards/shared-mime-info}"
    match, glob = mime_type.find(f"{prefix}magic/{prefix}match"), mime_type.find(f"{prefix}glob")
    assert mime_type.get("type") == Image.MIME["NIC"]
    assert match.get("value").encode().decode("unicode_escape").encode("latin-1") == MAGIC
    assert (match.get("type"), match.get("offset"), glob.get("pattern")) == ("string", "0", "*.nic")


@only_on_linux
@pytest.mark.usefixtures("no_database")
def test_thumbnailer_calls_the_installed_command(tmp_path: Path, nic_program: Path) -> None:
    assert run("desktop", "install", "--prefix", str(tmp_path)) == 0
    entry = configparser.RawConfigParser()
    entry.optionxform = str
    entry.read(tmp_path / THUMBNAILER_FILE)
    values = dict(entry["Thumbnailer Entry"])
    assert values["TryExec"] == str(nic_program)
    assert values["MimeType"] == "image/x-nic;"
    quoted = str(nic_program).replace("%", "%%")
    assert shlex.split(values["Exec"]) == [quoted, "thumbnail", "--size", "%s", "%i", "%o"]


@only_on_linux
@pytest.mark.usefixtures("no_database")
def test_uninstall_removes_what_install_wrote_and_nothing_else(
    tmp_path: Path, nic_program: Path, capsys: Output
) -> None:
    (tmp_path / THUMBNAILER_FILE).parent.mkdir(parents=True)
    (tmp_path / THUMBNAILER_FILE).with_name("other.thumbnailer").touch()
    before = names(tmp_path)
    assert run("desktop", "install", "--prefix", str(tmp_path)) == 0
    assert names(tmp_path) == before | {MIME_FILE, THUMBNAILER_FILE}
    capsys.readouterr()
    assert run("desktop", "uninstall", "--prefix", str(tmp_path)) == 0
    assert (
        f"removed {tmp_path / MIME_FILE}\nremoved {tmp_path / THUMBNAILER_FILE}\n" in capsys.readouterr().out
    )
    assert names(tmp_path) == before
    assert run("desktop", "uninstall", "--prefix", str(tmp_path)) == 0
    assert capsys.readouterr().out == f"nothing is installed in {tmp_path / 'share'}\n"


@only_on_linux
@pytest.mark.usefixtures("no_database", "nic_program")
@pytest.mark.parametrize(
    ("data_home", "place"), [("data", "data/mime"), ("", ".local/share/mime"), (None, ".local/share/mime")]
)
def test_default_place_is_the_users(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data_home: str | None, place: str
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    if data_home is not None:
        monkeypatch.setenv("XDG_DATA_HOME", data_home and str(tmp_path / data_home))
    assert run("desktop", "install") == 0
    assert (tmp_path / place / "packages" / "pillow-neural.xml").exists()


@only_on_linux
@pytest.mark.skipif(
    not (shutil.which("update-mime-database") and shutil.which("gio")), reason="needs a desktop's tools"
)
def test_desktops_recognise_files_by_name_and_by_magic(tmp_path: Path, nic_program: Path) -> None:
    (tmp_path / "named.nic").write_bytes(b"anything")
    (tmp_path / "nameless").write_bytes(MAGIC + b"\x01")

    def types() -> list[str]:
        command = ["gio", "info", "-a", "standard::content-type", "named.nic", "nameless"]
        environment = {**os.environ, "XDG_DATA_HOME": str(tmp_path / "share")}
        shown = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return [line.split()[-1] for line in shown.stdout.splitlines() if "content-type:" in line]

    assert run("desktop", "install", "--prefix", str(tmp_path)) == 0
    assert types() == ["image/x-nic", "image/x-nic"]
    assert run("desktop", "uninstall", "--prefix", str(tmp_path)) == 0
    assert "image/x-nic" not in types()


@pytest.mark.parametrize("action", ["install", "uninstall"])
def test_other_systems_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, action: str, capsys: Output
) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    assert run("desktop", action, "--prefix", str(tmp_path)) == 1
    assert "only Linux" in capsys.readouterr().err
    assert names(tmp_path) == set()


@only_on_linux
def test_a_missing_command_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    monkeypatch.setattr(desktop.sysconfig, "get_path", lambda name: str(tmp_path))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert run("desktop", "install", "--prefix", str(tmp_path)) == 1
    assert "there is no nic command" in capsys.readouterr().err


@only_on_linux
def test_a_database_that_cannot_be_updated_is_an_error(
    tmp_path: Path, nic_program: Path, monkeypatch: pytest.MonkeyPatch, capsys: Output
) -> None:
    failure = subprocess.CompletedProcess([], 1, "", "disk full\n")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: failure)
    assert run("desktop", "install", "--prefix", str(tmp_path)) == 1
    assert "failed: disk full" in capsys.readouterr().err


@pytest.mark.usefixtures("fake_codec")
def test_thumbnail_is_an_upright_png_of_the_size(tmp_path: Path, make_picture: Maker) -> None:
    make_picture("RGBA", 200, 100).save(tmp_path / "a.nic", exif=exif(orientation=6))
    assert run("thumbnail", "--size", "64", str(tmp_path / "a.nic"), str(tmp_path / "small.png")) == 0
    with Image.open(tmp_path / "small.png") as small:
        assert (small.format, small.mode, small.size) == ("PNG", "RGBA", (32, 64))


@pytest.mark.usefixtures("fake_codec")
def test_thumbnail_of_a_small_picture_is_not_enlarged(tmp_path: Path, make_picture: Maker) -> None:
    make_picture("L", 20, 10).save(tmp_path / "a.nic")
    assert run("thumbnail", str(tmp_path / "a.nic"), str(tmp_path / "small.png")) == 0
    assert Image.open(tmp_path / "small.png").size == (20, 10)


def test_thumbnail_of_no_picture_fails(tmp_path: Path, capsys: Output) -> None:
    (tmp_path / "a.nic").write_bytes(b"no picture")
    assert run("thumbnail", str(tmp_path / "a.nic"), str(tmp_path / "small.png")) == 1
    assert "not a picture that Pillow can open" in capsys.readouterr().err
    assert names(tmp_path) == {"a.nic"}
