"""The demo's configuration, for a node without a configuration file."""

from __future__ import annotations

from pathlib import Path

from broadside.config.config import DEFAULT_FILE, Channel, Config, Demo, NodeConfig, Supervision, load


def demo_config(folder: Path | None = None) -> Config:
    """Return the demo's configuration: two channels, both twins, data in ``folder``/var."""
    return Config(
        demo=Demo(),
        node=NodeConfig(data=(folder or Path.cwd()) / "var"),
        supervision=Supervision(spare=False),  # nobody waits for a demo's worker
        channels={
            "ios-news": Channel(platform="apns", app="com.example.news", twin=True),
            "android-news": Channel(platform="fcm", app="example-news", twin=True),
        },
    )


def load_or_demo(path: Path | None = None) -> Config:
    """Read ``path``, or ``broadside.toml`` in the current folder; without either, return the demo's configuration.

    Raises ``ConfigError`` with every mistake found.
    """
    if path is None and not Path(DEFAULT_FILE).exists():
        return demo_config()
    return load(path or Path(DEFAULT_FILE))
