"""imageio: make it know `.nic`, now or as soon as somebody imports it, without importing it here."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.abc import Loader
    from importlib.machinery import ModuleSpec
    from types import ModuleType

NAME = "NIC"
EXTENSION = ".nic"

_CONFIG = "imageio.config"


def register_imageio() -> None:
    """Make imageio read and write `.nic`; `import pillow_neural` has done so already.

    Where imageio is not imported yet, this happens when it is. May be called again, and must be after
    `imageio.config` was removed from `sys.modules` and imported anew.
    """
    if _CONFIG in sys.modules:
        from imageio import config

        _add_plugin(config)
    elif not any(type(finder).__module__ == __name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, _ConfigFinder())


class _ConfigFinder:
    """Finds `imageio.config` where the other finders do, and leaves `sys.meta_path` once it is imported."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != _CONFIG:
            return None
        others = (finder for finder in sys.meta_path if finder is not self and hasattr(finder, "find_spec"))
        found = (finder.find_spec(name, path, target) for finder in others)
        spec = next((spec for spec in found if spec is not None), None)
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader, self)  # type: ignore[assignment]
        return spec


class _RegisteringLoader:
    """Runs `imageio.config` with the loader that was found for it, then adds the plugin."""

    def __init__(self, loader: Loader, finder: _ConfigFinder) -> None:
        self._loader = loader
        self._finder = finder

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        if self._finder in sys.meta_path:
            sys.meta_path.remove(self._finder)
        _add_plugin(module)


def _add_plugin(config: ModuleType) -> None:
    if NAME in config.known_plugins:
        return
    config.known_plugins[NAME] = config.PluginConfig(
        name=NAME,
        class_name="NicPlugin",
        module_name="pillow_neural.imageio_plugin",
        install_name="pillow-neural",
    )
    extension = config.FileExtension(
        extension=EXTENSION, priority=[NAME, "pillow"], name="Neural-compressed image"
    )
    config.known_extensions.setdefault(EXTENSION, []).insert(0, extension)
    config.extension_list.append(extension)
