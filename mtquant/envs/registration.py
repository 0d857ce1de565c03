"""Names for ``gymnasium.make``: every shipped env, ``mtquant/XAUUSD-H1-v0`` for ``xauusd_h1``.

Gymnasium 1 no longer looks for plug-ins, so ``import mtquant`` has to register. A live process must
not load Gymnasium, though; where it is not loaded yet, registration waits until somebody does.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType

SHIPPED = ("xauusd_h1", "xauusd_h1_classic", "eurusd_h1", "btcusd_m5", "btc_eth_m5")


def env_id(name: str) -> str:
    """The id of a shipped env, ``mtquant/XAUUSD-H1-v0`` for ``xauusd_h1``."""
    return f"mtquant/{name.upper().replace('_', '-')}-v0"


def register_envs() -> None:
    """Register the shipped envs with Gymnasium, once."""
    from gymnasium.envs.registration import register, registry

    for name in SHIPPED:
        if env_id(name) not in registry:
            register(
                id=env_id(name),
                entry_point="mtquant.envs.trading:make_registered",
                kwargs={"name": name},
            )


def register_when_loaded() -> None:
    """Register now if Gymnasium is loaded, else as soon as it is."""
    if "gymnasium" in sys.modules:
        register_envs()
    elif not any(isinstance(finder, _AfterGymnasium) for finder in sys.meta_path):
        sys.meta_path.insert(0, _AfterGymnasium())


class _AfterGymnasium(MetaPathFinder):
    """Asks to be told when the first import of Gymnasium has ended."""

    def __init__(self) -> None:
        self._asking = False

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The ordinary spec of Gymnasium with a loader that registers afterwards."""
        if fullname != "gymnasium" or self._asking:
            return None
        self._asking = True
        try:
            spec = find_spec(fullname)
        finally:
            self._asking = False
        if spec is not None and spec.loader is not None:
            spec.loader = _RegisteringLoader(spec.loader)
        return spec


class _RegisteringLoader(Loader):
    """Gymnasium's own loader, followed by the registration."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the own loader does."""
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        """As the own loader does, then register; nothing of this loader stays behind."""
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        self._loader.exec_module(module)
        sys.meta_path[:] = [f for f in sys.meta_path if not isinstance(f, _AfterGymnasium)]
        register_envs()
