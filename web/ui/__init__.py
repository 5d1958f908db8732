"""The Dash components of the room. React code is in `src/`, bundled by `build.mjs` into one committed file.

Each class names what its component takes; what the component does is told in its source. Data never passes through
these props: components share one socket (`src/store.js`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from dash.development.base_component import Component

NAMESPACE = "everbeat_ui"  # the bundle's global name in the browser
BUNDLE = Path(__file__).with_name("everbeat_ui.min.js")
SOURCE_HASH = Path(__file__).with_name("everbeat_ui.min.js.sources.sha256")
LAZY = (  # modules that a page imports when it needs them
    "everbeat_body.min.js",
    "everbeat_timeline.min.js",
    "everbeat_proof.min.js",
)
RESOURCES: tuple[dict[str, Any], ...] = (  # for app.scripts.append_script
    {"relative_package_path": f"ui/{BUNDLE.name}", "namespace": "web"},
    *({"relative_package_path": f"ui/{name}", "namespace": "web", "dynamic": True} for name in LAZY),
)


class _Base(Component):  # type: ignore[misc]  # dash is untyped
    """What Dash asks of a component class."""

    _namespace = NAMESPACE
    _type = "_Base"
    _children_props: ClassVar[list[str]] = []
    _base_nodes: ClassVar[list[str]] = []
    _prop_names: ClassVar[list[str]] = []
    _valid_wildcard_attributes: ClassVar[list[str]] = []
    available_properties: ClassVar[list[str]] = []
    available_wildcard_properties: ClassVar[list[str]] = []

    def __init__(self, **props: Any) -> None:
        super().__init__(**{name: value for name, value in props.items() if value is not None})


class PatientTwin(_Base):
    """The patient as a 3D body. `glbUrl`: the baked body. Read only: `picked`, {region, channels}."""

    _type = "PatientTwin"
    _prop_names: ClassVar[list[str]] = ["id", "glbUrl", "picked"]

    def __init__(self, id: str, glbUrl: str) -> None:
        super().__init__(id=id, glbUrl=glbUrl)


class WaveMonitor(_Base):
    """Traces of all channels, at speeds and gains that the viewer sets."""

    _type = "WaveMonitor"
    _prop_names: ClassVar[list[str]] = ["id"]

    def __init__(self, id: str) -> None:
        super().__init__(id=id)


class VitalTile(_Base):
    """One channel in numbers. `channel`: its id; `size`: "large", "medium" or "small"."""

    _type = "VitalTile"
    _prop_names: ClassVar[list[str]] = ["id", "channel", "size"]

    def __init__(self, id: str, channel: str, size: str = "large") -> None:
        super().__init__(id=id, channel=channel, size=size)


class VitalBoard(_Base):
    """A tile for every channel that has a number."""

    _type = "VitalBoard"
    _prop_names: ClassVar[list[str]] = ["id"]

    def __init__(self, id: str) -> None:
        super().__init__(id=id)


class AlarmBar(_Base):
    """Standing alarms, the loudest first, with their panel, the alarm log and the sound. `shortcut`: key A opens it."""

    _type = "AlarmBar"
    _prop_names: ClassVar[list[str]] = ["id", "shortcut"]

    def __init__(self, id: str, shortcut: bool = True) -> None:
        super().__init__(id=id, shortcut=shortcut)


class Downtime(_Base):
    """What has failed and what to do, over the room. `contact`: whom to call, "" = the catalogue's default."""

    _type = "Downtime"
    _prop_names: ClassVar[list[str]] = ["id", "contact"]

    def __init__(self, id: str, contact: str = "") -> None:
        super().__init__(id=id, contact=contact)


class SessionBar(_Base):
    """Head of every page: places to go, language, clock; on a patient's pages whose they are and the line's state.

    `page`: "ward", "room", "replay" or "patients".
    """

    _type = "SessionBar"
    _prop_names: ClassVar[list[str]] = ["id", "page"]

    def __init__(self, id: str, page: str) -> None:
        super().__init__(id=id, page=page)


class EventLog(_Base):
    """The newest events, one a line; at most `limit`."""

    _type = "EventLog"
    _prop_names: ClassVar[list[str]] = ["id", "limit"]

    def __init__(self, id: str, limit: int = 40) -> None:
        super().__init__(id=id, limit=limit)


class Timeline(_Base):
    """The replay: the stored history of the page's patient, what was shown beside what was learnt later."""

    _type = "Timeline"
    _prop_names: ClassVar[list[str]] = ["id"]

    def __init__(self, id: str) -> None:
        super().__init__(id=id)


class TwinLink(_Base):
    """Draws nothing. `asked`: commands sent (button -> what would answer it). Read only: `live`, for callbacks."""

    _type = "TwinLink"
    _prop_names: ClassVar[list[str]] = ["id", "asked", "live"]

    def __init__(self, id: str, asked: dict[str, dict[str, object]] | None = None) -> None:
        super().__init__(id=id, asked=asked or {})


class WardBoard(_Base):
    """All patients of the ward, a row each, sorted by need or by bed."""

    _type = "WardBoard"
    _prop_names: ClassVar[list[str]] = ["id"]

    def __init__(self, id: str) -> None:
        super().__init__(id=id)
