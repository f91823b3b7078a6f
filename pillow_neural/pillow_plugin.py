"""Pillow: open and save `.nic` pictures.

Opening reads the header and the metadata only. Neither torch nor weights are touched before the pixels are
used or saved, and nothing but Pillow is imported until then.
"""

from __future__ import annotations

import threading
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from PIL import Image, ImageFile

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess

    from pillow_neural.container import Index

_MAGIC = b"\x89NIC\r\n\x1a\n"
_MIME = "image/x-nic"


class NicImageFile(ImageFile.ImageFile):
    """A `.nic` picture of mode L, LA, RGB or RGBA, decoded when its pixels are first used.

    `info` has the name of the `codec`, and `exif`, `icc_profile` and `xmp` where the file has them.

    Raises:
        SyntaxError: at opening, not a sound .nic header (`Image.open` makes it UnidentifiedImageError).
        OSError: at opening, damaged metadata, which ImageFile.LOAD_TRUNCATED_IMAGES leaves out instead; at
            each `load`, damaged or truncated pixels, or weights that are missing.
    """

    format = "NIC"
    format_description = "Neural-compressed image"
    is_animated = False
    n_frames = 1

    _index: Index
    _start: int
    _load_lock: threading.Lock

    def _open(self) -> None:
        from pillow_neural import container

        fp = self._file()
        self._load_lock = threading.Lock()
        self._start = fp.tell()
        self._index = container.read_index(fp)
        header = self._index.header
        self._mode = header.mode
        self._size = (header.width, header.height)
        self.info["codec"] = header.codec
        self._read_metadata(fp)

    def _read_metadata(self, fp: BinaryIO) -> None:
        from pillow_neural.container import EXIF_PREFIX, METADATA, DamagedFileError, read_chunk

        for kind, key in METADATA.items():
            for entry in self._index.of_kind(kind):
                try:
                    data = read_chunk(fp, entry, self._start)
                except DamagedFileError:
                    if not ImageFile.LOAD_TRUNCATED_IMAGES:
                        raise
                else:
                    self.info[key] = EXIF_PREFIX + data if key == "exif" else data

    def load(self) -> PixelAccess | None:
        """Decode the picture unless it is decoded; safe when threads share it.

        Raises:
            OSError: damaged or truncated pixels, or missing weights; so does each later call.
            ValueError: the file was closed, or the device that was asked for is impossible.
        """
        if self._im is None:
            with self._load_lock:
                if self._im is None:
                    self._decode()
        return super().load()

    def _decode(self) -> None:
        from pillow_neural.picture import decode_picture

        fp = self._file()
        picture = decode_picture(fp, self._index, self._start)
        self.readonly = picture.readonly
        self.im = picture.im
        if self._exclusive_fp:
            fp.close()
        self.fp = None

    def load_seek(self, pos: int) -> None:
        """Tell ImageFile.Parser, by being here, that a picture decodes only from the whole file."""

    def verify(self) -> None:
        """Compare every checksum in the file, without decoding; then close the file.

        Raises:
            OSError: the file is damaged or truncated.
            ValueError: the file was closed or its pixels loaded before.
        """
        from pillow_neural import container

        try:
            container.verify(self._file(), self._index, self._start)
        finally:
            super().verify()

    def _file(self) -> BinaryIO:
        if self.fp is None:
            raise ValueError("Operation on closed image: open the .nic file again")
        return cast(BinaryIO, self.fp)


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(_MAGIC)


def _save(im: Image.Image, fp: IO[bytes], filename: str | bytes) -> None:
    """Write last: a failure leaves `fp` untouched. Image.save has emptied a path's old file by then."""
    from pillow_neural.picture import encode_picture
    from pillow_neural.settings import options_for

    fp.write(encode_picture(im, options_for(im, im.encoderinfo)))


def register_nic_opener() -> None:
    """Make Pillow open and save `.nic`; `import pillow_neural` has done so already. May be called again."""
    Image.register_open(NicImageFile.format, NicImageFile, _accept)
    Image.register_save(NicImageFile.format, _save)
    Image.register_extension(NicImageFile.format, ".nic")
    Image.register_mime(NicImageFile.format, _MIME)
