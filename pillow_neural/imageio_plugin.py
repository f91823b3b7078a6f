"""imageio: read and write `.nic` pictures through `imageio.v3` and `imageio.v2`.

imageio imports this module by itself, by the name that `pillow_neural.imageio_hook` gives it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from io import BytesIO
from operator import index as as_integer
from types import EllipsisType, TracebackType
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt
from imageio.core.request import RETURN_BYTES, InitializationError, IOMode, Request
from imageio.core.v3_plugin_api import ImageProperties, PluginV3
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from pillow_neural.container import MAGIC, HeaderError, read_index
from pillow_neural.imageio_arrays import pictures
from pillow_neural.imageio_hook import EXTENSION
from pillow_neural.pillow_plugin import NicImageFile

Pixels = npt.NDArray[Any]
FrameIndex = int | EllipsisType | None


class NicPlugin(PluginV3):
    """A `.nic` picture, still or animated, as uint8 arrays [H, W], [H, W, 2], [H, W, 3] or [H, W, 4].

    In every method, `index` is the number of a frame or `...` for all of them. None, the default, means the
    picture itself where there is one, and all frames of an animation, as with GIF and APNG.

    Raises:
        InitializationError: not a .nic file, or not to be written under this extension.
        OSError: a .nic file whose header or metadata are damaged; the message says how.
    """

    _owns_request = False  # until __init__ succeeds: otherwise imageio gives the request to other plugins

    def __init__(self, request: Request) -> None:
        self._frames: list[Image.Image] = []
        self._keywords: dict[str, object] = {}
        if request.mode.io_mode == IOMode.read:
            self._picture = _open(request)
        elif (request.extension or EXTENSION).lower() != EXTENSION:
            raise InitializationError(
                f"cannot write .nic under the extension {request.extension}: give extension='{EXTENSION}'"
            )
        super().__init__(request)
        self._owns_request = True

    def read(
        self,
        *,
        index: FrameIndex = None,
        mode: str | None = None,
        rotate: bool = False,
        apply_gamma: bool = False,
        writeable_output: bool = True,
        pilmode: str | None = None,
        exifrotate: bool | None = None,
    ) -> Pixels:
        """Decode one frame, or all frames stacked as [N, H, W] or [N, H, W, C].

        Args:
            index: which frame, see the class.
            mode: a Pillow mode to convert to, such as "L" or "RGB".
            rotate: turn the picture as its EXIF orientation says.
            apply_gamma: has no effect: .nic stores no gamma.
            writeable_output: False saves a copy where the array may be read-only.
            pilmode: `mode` in imageio's older functions.
            exifrotate: `rotate` in imageio's older functions.

        Raises:
            ValueError: there is no such frame.
            OSError: the pixels are damaged or truncated, or the weights are missing.
        """
        mode = mode if pilmode is None else pilmode
        rotate = rotate if exifrotate is None else exifrotate
        if self._resolve(index) is ...:
            frames = self.iter(mode=mode, rotate=rotate, writeable_output=writeable_output)
            return np.stack(list(frames))
        return _array(self._frame_at(index), mode, rotate, writeable_output)

    def iter(
        self,
        *,
        mode: str | None = None,
        rotate: bool = False,
        apply_gamma: bool = False,
        writeable_output: bool = True,
    ) -> Iterator[Pixels]:
        """Decode one frame after the other; the arguments are those of `read`."""
        for number in range(self._picture.n_frames):
            yield _array(self._frame_at(number), mode, rotate, writeable_output)

    def properties(self, index: FrameIndex = None) -> ImageProperties:
        """Shape and dtype of what `read` returns for this index, without decoding.

        Raises:
            ValueError: there is no such frame.
        """
        picture, all_frames = self._frame_at(index), self._resolve(index) is ...
        channels = len(picture.getbands())
        shape = (picture.height, picture.width, *((channels,) if channels > 1 else ()))
        n_images = picture.n_frames if all_frames else None
        return ImageProperties(
            shape=(picture.n_frames, *shape) if all_frames else shape,
            dtype=np.dtype(np.uint8),
            n_images=n_images,
            is_batch=all_frames,
        )

    def metadata(self, index: FrameIndex = None, exclude_applied: bool = True) -> dict[str, Any]:
        """Pillow's `info` with `mode`, `shape` (width, height) and the EXIF tags by name, without decoding.

        For all frames this is what the first frame has.

        Args:
            index: which frame, see the class.
            exclude_applied: leave out the EXIF orientation, which `read` can apply.

        Raises:
            ValueError: there is no such frame.
        """
        picture = self._frame_at(index)
        metadata = cast(dict[str, Any], picture.info) | {"mode": picture.mode, "shape": picture.size}
        tags = picture.getexif().items()
        metadata.update({ExifTags.TAGS[tag]: value for tag, value in tags if tag in ExifTags.TAGS})
        if exclude_applied:
            metadata.pop("Orientation", None)
        return metadata

    def write(
        self,
        ndimage: npt.ArrayLike | Sequence[npt.ArrayLike],
        *,
        is_batch: bool | None = None,
        mode: str | None = None,
        **keywords: object,
    ) -> bytes | None:
        """Add a picture, or the frames of an animation; they are encoded when the plugin is closed.

        Nothing is written if the block that uses the plugin ends with an exception.

        Args:
            ndimage: the picture or pictures, see `imageio_arrays.pictures`.
            is_batch: whether an array is stacked frames, see there for the default.
            mode: the Pillow mode that the channels mean, such as "YCbCr" or "CMYK".
            keywords: as for saving with Pillow: quality, target_size, lossless, codec, tune, effort, exif,
                icc_profile, xmp; for animations duration (milliseconds, one or a list of one a frame) and
                loop (0 for ever).

        Returns:
            The file, where the target is `"<bytes>"`.

        Raises:
            TypeError: the dtype is not uint8, or a keyword has the wrong type.
            ValueError: a wrong shape or mode, or a keyword out of its range.
        """
        if "fps" in keywords:
            raise TypeError("give duration, in milliseconds, instead of fps: duration = 1000 / fps")
        self._frames += pictures(ndimage, is_batch, mode)
        self._keywords.update(keywords)
        return self._flush() if str(self.request.raw_uri).startswith(RETURN_BYTES) else None

    def close(self) -> None:
        """Encode and write the frames, if any; then close the file.

        Raises:
            TypeError, ValueError: a keyword is wrong; the file is left as it was.
        """
        if not self._owns_request:
            return
        try:
            self._flush()
        finally:
            self.request.finish()

    def __exit__(
        self, type: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if type is not None:
            self._frames.clear()
        self.close()

    def _flush(self) -> bytes | None:
        if not self._frames:
            return None
        (first, *others), self._frames = self._frames, []
        encoded = BytesIO()
        first.save(
            encoded, NicImageFile.format, save_all=bool(others), append_images=others, **self._keywords
        )
        self.request.get_file().write(encoded.getvalue())
        return encoded.getvalue()

    def _resolve(self, index: FrameIndex) -> int | EllipsisType:
        if index is None:
            return ... if self._picture.is_animated else 0
        return index if index is ... else as_integer(index)

    def _frame_at(self, index: FrameIndex) -> NicImageFile:
        number = self._resolve(index)
        try:
            self._picture.seek(0 if number is ... else number)
        except EOFError:
            raise ValueError(
                f"there is no frame {number}: the file has {self._picture.n_frames}, counted from 0"
            ) from None
        return self._picture


def _open(request: Request) -> NicImageFile:
    file = request.get_file()
    try:
        return cast(NicImageFile, Image.open(file, formats=[NicImageFile.format]))
    except UnidentifiedImageError:
        _tell_damage(file)
        raise InitializationError("this is not a .nic file") from None


def _tell_damage(file: BinaryIO) -> None:
    """Raise OSError that says what is wrong, if a file that cannot be opened begins like a .nic file."""
    try:
        file.seek(0)
    except (AttributeError, OSError):
        return
    if file.read(len(MAGIC)) == MAGIC:
        file.seek(0)
        try:
            read_index(file)
        except HeaderError as error:
            raise OSError(f"cannot read this file: {error}") from error


def _array(frame: Image.Image, mode: str | None, rotate: bool, writeable: bool) -> Pixels:
    if rotate:
        frame = ImageOps.exif_transpose(frame)
    if mode is not None:
        frame = frame.convert(mode)
    return np.array(frame) if writeable else np.asarray(frame)
