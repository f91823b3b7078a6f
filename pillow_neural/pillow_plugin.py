"""Pillow: open and save `.nic` pictures and animations.

Opening reads the header and the metadata only. Neither torch nor weights are touched before the pixels are
used or saved.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from contextlib import closing
from itertools import accumulate, chain
from operator import index as as_integer
from typing import IO, TYPE_CHECKING, BinaryIO, cast

from PIL import Image, ImageFile, ImageSequence

from pillow_neural import container
from pillow_neural.container import EXIF_PREFIX, METADATA, DamagedFileError, Index
from pillow_neural.timing import Timing, no_timing, read_timing

if TYPE_CHECKING:
    from PIL._imaging import PixelAccess


class NicImageFile(ImageFile.ImageFile):
    """A `.nic` picture of mode L, LA, RGB or RGBA, decoded when its pixels are first used.

    `info` has the name of the `codec`, and `exif`, `icc_profile` and `xmp` where the file has them. Of an
    animation it also has `loop`, 0 for ever, and the current frame's `duration` and `timestamp` in
    milliseconds. Frames are coded alone: `seek` costs nothing in either direction.

    A picture of a progressive codec has `n_layers` layers; `layers`, set before its pixels are loaded, asks
    for the coarser picture of the first so many.

    Once pixels are loaded, the file is not needed any more and closed if it was opened by its path; an
    animation is then kept in memory in its coded form.

    Raises:
        SyntaxError: at opening, not a sound .nic header (`Image.open` makes it UnidentifiedImageError).
        OSError: at opening, damaged metadata, which ImageFile.LOAD_TRUNCATED_IMAGES leaves out instead; at
            each `load`, damaged or truncated pixels, or weights that are missing. With LOAD_TRUNCATED_IMAGES
            damaged pixels are those of the layers before the damage or, if there is none, grey; a damaged
            alpha channel is opaque.
    """

    format = "NIC"
    format_description = "Neural-compressed image"
    is_animated = False
    n_frames = 1

    _min_frame = 0
    _frame = 0
    _reduction = 1
    _layers = 0
    _kept_in_memory = False
    _timing: Timing | None = None
    _timestamps: tuple[int, ...]
    _index: Index
    _start: int
    _load_lock: threading.Lock

    def _open(self) -> None:
        fp = self._file()
        self._load_lock = threading.Lock()
        self._start = fp.tell()
        self._index = container.read_index(fp)
        self.n_frames = len(self._index.frames)
        self.is_animated = self.n_frames > 1
        self.info["codec"] = self._index.header.codec
        self._read_metadata(fp)
        if self.is_animated:
            self._timing = self._read_timing(fp)
            self._timestamps = (0, *accumulate(self._timing.durations))
        self._show(0)

    def _read_metadata(self, fp: BinaryIO) -> None:
        for kind, key in METADATA.items():
            for entry in self._index.of_kind(kind):
                try:
                    data = container.read_chunk(fp, entry, self._start)
                except DamagedFileError:
                    if not ImageFile.LOAD_TRUNCATED_IMAGES:
                        raise
                else:
                    self.info[key] = EXIF_PREFIX + data if key == "exif" else data

    def _read_timing(self, fp: BinaryIO) -> Timing:
        try:
            return read_timing(fp, self._index, self._start)
        except DamagedFileError:
            if not ImageFile.LOAD_TRUNCATED_IMAGES:
                raise
            return no_timing(self._index)

    def seek(self, frame: int) -> None:
        """Go to a frame, 0 to `n_frames` - 1, in full size: `draft` holds for one frame.

        Raises:
            EOFError: there is no such frame.
            ValueError: the file was closed.
        """
        if self._seek_check(frame):
            self._file()
            with self._load_lock:
                self._show(frame)

    def tell(self) -> int:
        """Return the number of the current frame."""
        return self._frame

    def _show(self, frame: int) -> None:
        header = self._index.header
        self._frame, self._reduction, self._im = frame, 1, None
        self._mode = header.mode
        self._size = (header.width, header.height)
        if self._timing is not None:
            self.info["loop"] = self._timing.loop
            self.info["duration"] = self._timing.durations[frame]
            self.info["timestamp"] = self._timestamps[frame]

    @property
    def n_layers(self) -> int:
        """The most layers that a frame in the file has; 0 if its codec is not progressive."""
        from pillow_neural.layers import layer_count

        return layer_count(self._index) if "_index" in vars(self) else 0  # a pickled picture has no file

    @property
    def layers(self) -> int:
        """How many layers of each frame are decoded; 0, as at first, for all.

        As with Pillow's JPEG 2000, what is set has no effect on pixels that are loaded. Unlike `draft` it
        holds for all frames; one that has fewer layers is decoded with all of its own.

        Raises:
            TypeError: set to no whole number.
            ValueError: set to more than `n_layers`, or the codec is not progressive.
        """
        return self._layers

    @layers.setter
    def layers(self, layers: int) -> None:
        from pillow_neural.layers import check_layers

        number = as_integer(layers)
        if number != 0:
            check_layers(self.n_layers, number)
        self._layers = number

    def draft(
        self, mode: str | None, size: tuple[int, int] | None
    ) -> tuple[str, tuple[int, int, float, float]] | None:
        """Before `load`, ask for less than the whole picture, which is then decoded faster.

        The size becomes a half, a quarter or an eighth, rounded up, as long as it is not below `size`. Of
        modes, colour without alpha can become "L".

        Returns:
            The mode, and the box of the picture in its new pixels; None once pixels are loaded.
        """
        if self._im is not None:
            return None
        from pillow_neural.codecs.contract import REDUCTIONS

        header = self._index.header
        if mode == "L" and header.mode == "RGB":
            self._mode = mode
        if size is not None:
            most = min(header.width // max(size[0], 1), header.height // max(size[1], 1))
            self._reduction = max((r for r in REDUCTIONS if r <= most), default=1)
            self._size = (-(-header.width // self._reduction), -(-header.height // self._reduction))
        return self.mode, (0, 0, header.width / self._reduction, header.height / self._reduction)

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

        if self.is_animated:
            self._keep_in_memory()
        picture = decode_picture(
            self._file(),
            self._index,
            self._start,
            self._frame,
            self._reduction,
            self._layers or None,
            tolerant=ImageFile.LOAD_TRUNCATED_IMAGES,
        )
        if picture.mode != self.mode:
            picture = picture.convert(self.mode)
        self.readonly = picture.readonly
        self.im = picture.im
        if not self.is_animated:
            self._release_file()

    def _keep_in_memory(self) -> None:
        """Frames not yet decoded must survive that the file is closed, or saved over."""
        if not self._kept_in_memory:
            copy = container.in_memory(self._file(), self._index, self._start)
            self._release_file()
            self.fp, self._start, self._kept_in_memory = copy, 0, True

    def _release_file(self) -> None:
        if self._exclusive_fp:
            self._file().close()
        self.fp = None

    def load_seek(self, pos: int) -> None:
        """Tell ImageFile.Parser, by being here, that a picture decodes only from the whole file."""

    def verify(self) -> None:
        """Compare every checksum in the file, without decoding; then close the file.

        Raises:
            OSError: the file is damaged or truncated.
            ValueError: the file was closed or its pixels loaded before.
        """
        try:
            container.verify(self._file(), self._index, self._start)
        finally:
            super().verify()

    def _file(self) -> BinaryIO:
        if self.fp is None:
            raise ValueError("Operation on closed image: open the .nic file again")
        return cast(BinaryIO, self.fp)


def save(im: Image.Image, fp: IO[bytes]) -> None:
    """Save the current frame with the options in `im.encoderinfo`.

    Writes last: a failure leaves `fp` untouched. Image.save has emptied a path's old file by then.

    Raises:
        TypeError, ValueError: an option is not what `pillow_neural.settings.options_for` asks for.
        OSError, ValueError: as `pillow_neural.picture.encode_picture` does.
    """
    from pillow_neural.picture import encode_picture
    from pillow_neural.settings import options_for

    fp.write(encode_picture(im, options_for(im, im.encoderinfo)))


def save_all(im: Image.Image, fp: IO[bytes]) -> None:
    """Save all frames of a picture and of the pictures in its `encoderinfo["append_images"]`, as `save` does.

    Raises:
        TypeError: something in `append_images` is no picture.
        ValueError: frames differ in size, or there is not one of several durations for each.
    """
    from pillow_neural.picture import encode_frames
    from pillow_neural.settings import options_for

    options = options_for(im, im.encoderinfo)
    with closing(_all_frames(im, im.encoderinfo.get("append_images") or ())) as frames:
        fp.write(encode_frames(frames, options))


def _all_frames(im: Image.Image, more: Iterable[Image.Image]) -> Generator[Image.Image, None, None]:
    """The frames of all these pictures, each of which is back at its current frame afterwards."""
    for source in chain([im], more):
        if not isinstance(source, Image.Image):
            raise TypeError(f"append_images must hold pictures, not {type(source).__name__}")
        current = source.tell()
        try:
            yield from ImageSequence.Iterator(source)
        finally:
            source.seek(current)
