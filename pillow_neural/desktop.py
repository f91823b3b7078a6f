"""The MIME type of .nic files and their thumbnails, for Linux desktops that follow freedesktop.org."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

from pillow_neural.container import MAGIC

MIME_TYPE = "image/x-nic"
MIME_FILE = Path("mime", "packages", "pillow-neural.xml")
THUMBNAILER_FILE = Path("thumbnailers", "pillow-neural.thumbnailer")

_MIME_XML = f"""\
<?xml version="1.0" encoding="UTF-8"?>
<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">
  <mime-type type="{MIME_TYPE}">
    <comment>Neural-compressed image</comment>
    <generic-icon name="image-x-generic"/>
    <magic>
      <match type="string" offset="0" value="{{magic}}"/>
    </magic>
    <glob pattern="*.nic"/>
  </mime-type>
</mime-info>
"""

_THUMBNAILER = f"""\
[Thumbnailer Entry]
TryExec={{program}}
Exec={{command}} thumbnail --size %s %i %o
MimeType={MIME_TYPE};
"""


def data_folder(prefix: Path | None) -> Path:
    """Where desktops look below a prefix such as /usr/local; without one, where they look for this user."""
    if prefix is not None:
        return prefix.expanduser() / "share"
    home = os.environ.get("XDG_DATA_HOME")
    return Path(home) if home else Path.home() / ".local" / "share"


def install(folder: Path) -> Iterator[str]:
    """Write the files below a data folder, yield a line for each thing done.

    Raises:
        OSError: not Linux, no `nic` command, or a file cannot be written.
    """
    _check_platform()
    program = _program()
    escaped = "".join(chr(byte) if 33 <= byte < 127 else f"\\x{byte:02x}" for byte in MAGIC)
    command = shlex.quote(program).replace("%", "%%")
    contents = {
        MIME_FILE: _MIME_XML.format(magic=escaped),
        THUMBNAILER_FILE: _THUMBNAILER.format(program=program, command=command),
    }
    for name, text in contents.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        yield f"wrote {path}"
    yield _update_database(folder)
    if not program.startswith("/usr/"):
        yield (
            "note: GNOME's file manager runs thumbnailers in a sandbox that sees only /usr, so not "
            f"{program}; others run it"
        )


def uninstall(folder: Path) -> Iterator[str]:
    """Remove what `install` wrote below a data folder, yield a line for each thing done.

    Raises:
        OSError: not Linux, or a file cannot be removed.
    """
    _check_platform()
    removed = [folder / name for name in (MIME_FILE, THUMBNAILER_FILE) if (folder / name).exists()]
    for path in removed:
        path.unlink()
        yield f"removed {path}"
    if not removed:
        yield f"nothing is installed in {folder}"
    if folder / MIME_FILE in removed:
        yield _update_database(folder)


def _check_platform() -> None:
    if sys.platform != "linux":
        raise OSError(f"only Linux desktops take MIME types and thumbnailers from files, not {sys.platform}")


def _program() -> str:
    beside = Path(sysconfig.get_path("scripts"), "nic")
    program = str(beside) if beside.exists() else shutil.which("nic")
    if program is None:
        raise FileNotFoundError(f"there is no nic command in {beside.parent} or the folders of PATH")
    return program


def _update_database(folder: Path) -> str:
    database = folder / "mime"
    if shutil.which("update-mime-database") is None:
        return f"update-mime-database is not installed: run it with {database} once it is"
    result = subprocess.run(
        ["update-mime-database", str(database)], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise OSError(f"update-mime-database {database} failed: {result.stderr.strip()}")
    return f"updated {database}"
