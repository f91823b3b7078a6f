"""Identifying and opening files, and what becomes of the file objects."""

from __future__ import annotations

import gc
import io
import tempfile
import warnings
from typing import Any

from PIL import Image, ImageFile

from tests.conformance.kit import Kit, Stream, outcome


def identity(kit: Kit) -> str:
    im = kit.open()
    return f"{im.format} {im.get_format_mimetype()} {im.mode} {im.size}"


def laziness(kit: Kit) -> str:
    im = kit.open()
    return "not decoded" if im._im is None and im.size == (40, 30) else "decoded"


def accept(kit: Kit) -> str:
    data = kit.save()
    accepts = Image.OPEN[kit.format][1]
    assert accepts is not None
    return f"{bool(accepts(data[:16]))}, {bool(accepts(b'GIF89a' + bytes(10)))}"


def foreign_bytes(kit: Kit) -> str:
    factory = type(kit.open())
    given = outcome(lambda: factory(io.BytesIO(b"GIF89a" + bytes(100))))
    return f"class: {given}, empty file: {outcome(lambda: Image.open(io.BytesIO()))}"


def formats(kit: Kit) -> str:
    def identified_as(name: str) -> str:
        return outcome(lambda: Image.open(io.BytesIO(kit.save()), formats=[name]))

    return ", ".join(map(identified_as, (kit.format.lower(), kit.format.title(), "PPM")))


def sources(kit: Kit) -> str:
    data = kit.save()
    path = kit.path(data)
    with path.open("rb") as file, tempfile.SpooledTemporaryFile() as spooled:
        spooled.write(data)
        spooled.seek(0)
        places: list[Any] = [str(path), bytes(path), path, file, io.BytesIO(data), Stream(data), spooled]
        pictures = [Image.open(place).tobytes() for place in places]
    return f"{len(pictures)} kinds" if len(set(pictures)) == 1 else "different"


def target_named_by_a_path(kit: Kit) -> str:
    class Named(io.BytesIO):
        name = kit.folder / f"x{kit.suffix}"

    target = Named()
    kit.open().save(target)
    return str(kit.open(target.getvalue()).format)


def file_name(kit: Kit) -> str:
    path = kit.path()
    return "kept" if str(Image.open(path).filename) == str(path) else "lost"  # type: ignore[attr-defined]


def own_file(kit: Kit) -> str:
    loaded, left = kit.open_path(), kit.open_path()
    files = loaded.fp, left.fp
    loaded.load()
    with left:
        pass
    assert files[0] is not None
    assert files[1] is not None
    return f"after load: {_state(files[0])}, after with: {_state(files[1])}"


def own_file_of_an_animation(kit: Kit) -> str:
    im = kit.open_path(kit.animation())
    file = im.fp
    im.load()
    assert file is not None
    im.seek(2)
    return f"{_state(file)}, next frame: {outcome(im.load)}"


def foreign_file(kit: Kit) -> str:
    with kit.path().open("rb") as file:
        with Image.open(file) as im:
            im.load()
        return f"{_state(file)}, opened again: {outcome(Image.open(file).load)}"


def resource_warnings(kit: Kit) -> str:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with kit.open_path() as im:
            im.save(kit.folder / f"again{kit.suffix}")
        kit.open_path().load()
        gc.collect()
    return "none" if not caught else str(caught[0].category.__name__)


def use_after_close(kit: Kit) -> str:
    unloaded, loaded = kit.open(), kit.open()
    loaded.load()
    unloaded.close()
    loaded.close()
    return f"{outcome(unloaded.load)}, loaded before: {outcome(loaded.load)}"


def seek_after_close(kit: Kit) -> str:
    im = kit.open(kit.animation())
    im.seek(1)
    im.close()
    return outcome(lambda: im.seek(0))


def feeding_a_parser(kit: Kit) -> str:
    data = kit.save()

    def parse(block: int) -> bytes:
        parser = ImageFile.Parser()
        for start in range(0, len(data), block):
            parser.feed(data[start : start + block])
        return parser.close().tobytes()

    whole = kit.open(data).tobytes()
    return ", ".join(f"{block}: {'same' if parse(block) == whole else 'different'}" for block in (64, 1024))


def targets(kit: Kit) -> str:
    stream = Stream()
    kit.save(target=stream)
    output = io.TextIOWrapper(io.BytesIO())
    kit.monkeypatch.setattr("sys.stdout", output)
    kit.save(target=output)
    written = [stream.buffer.getvalue(), output.buffer.getvalue()]  # type: ignore[attr-defined]
    return "same bytes" if written == [kit.save()] * 2 else "different"


def block_sizes(kit: Kit) -> str:
    before = kit.save()
    kit.monkeypatch.setattr(ImageFile, "MAXBLOCK", 1)
    kit.monkeypatch.setattr(ImageFile, "SAFEBLOCK", 64)
    same = kit.save() == before and kit.open(before).tobytes() == kit.open().tobytes()
    kept = (ImageFile.MAXBLOCK, ImageFile.SAFEBLOCK) == (1, 64)
    return f"{'same' if same else 'other'} bytes, {'kept' if kept else 'changed'}"


def saving_over_the_open_file(kit: Kit) -> str:
    with kit.open_path() as im:
        expected = im.copy()
        kit.save(im, im.filename)
        again = Image.open(im.filename)
        return "same picture" if again.tobytes() == expected.tobytes() == im.tobytes() else "different"


def saving_an_animation_over_the_open_file(kit: Kit) -> str:
    path = kit.path(kit.animation())
    with Image.open(path) as im:
        kit.save(im, path, save_all=True)
    with Image.open(path) as again:
        return f"{getattr(again, 'n_frames', 1)} frames"


def _state(file: Any) -> str:  # noqa: ANN401
    return "closed" if file.closed else "open"
