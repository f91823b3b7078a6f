"""Neural image compression for Pillow: `.nic` files open and save as naturally as PNG.

    import pillow_neural
    from PIL import Image
    Image.open("photo.png").save("photo.nic", quality=0.25)
    Image.open("photo.nic").show()

`quality` is the nominal bits per pixel, 0.05 to 2.0; `target_size` gives bytes a file instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pillow_neural.pillow_plugin import register_nic_opener

if TYPE_CHECKING:
    from pillow_neural.settings import set_device as set_device

    __version__: str

__all__ = ["__version__", "register_nic_opener", "set_device"]

register_nic_opener()


def __getattr__(name: str) -> object:
    """Import on first use what would make `import pillow_neural` slow."""
    if name == "__version__":
        from importlib.metadata import version

        return version("pillow-neural")
    if name == "set_device":
        from pillow_neural.settings import set_device

        return set_device
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
