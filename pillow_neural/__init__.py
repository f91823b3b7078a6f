"""Neural image compression for Pillow: `.nic` files open and save as naturally as PNG.

    import pillow_neural
    from PIL import Image
    Image.open("photo.png").save("photo.nic", quality=0.25)
    Image.open("photo.nic").show()

`quality` is the nominal bits per pixel, 0.05 to 2.0; `target_size` gives bytes a file instead. `set_device`,
`set_threads` and the context manager `options` choose where pictures are coded.

A process that is started afresh, such as a worker of multiprocessing's method "spawn", knows `.nic` once it
has imported this package too: import it in the module that has the worker's function.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillow_neural.imageio_hook import register_imageio
from pillow_neural.pillow_hook import register_nic_opener

if TYPE_CHECKING:
    from pillow_neural.devices import options as options
    from pillow_neural.devices import set_device as set_device
    from pillow_neural.devices import set_threads as set_threads

    __version__: str

__all__ = ["__version__", "options", "register_imageio", "register_nic_opener", "set_device", "set_threads"]

register_nic_opener()
register_imageio()


def __getattr__(name: str) -> object:
    """Import on first use what would make `import pillow_neural` slow."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pillow-neural")
    if name in {"options", "set_device", "set_threads"}:
        from pillow_neural import devices

        return getattr(devices, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
