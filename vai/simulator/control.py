"""The simulator's own paths: scripts, journal, figures.

Invariants: everything under ``/_sim/``; it reads and sets, and is not
journaled itself.

    PUT    /_sim/scripts/{model}     dictate the answers of a model (see `scripts.Script`)
    DELETE /_sim/scripts[/{model}]   forget one, or all
    GET    /_sim/journal?after=&id=&model=
    DELETE /_sim/journal
    DELETE /_sim/tries               let ``fail=`` count from the start again
    GET    /_sim/stats
    GET    /_sim/health
"""

from __future__ import annotations

import binascii
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import msgspec
import orjson

from vai.simulator.reply import Reply, whole
from vai.simulator.scripts import Script, TooManyScripts
from vai.simulator.world import World

__all__ = ["PREFIX", "control"]

PREFIX: Final = "/_sim/"
_HEADERS: Final = [("content-type", "application/json")]


def control(
    world: World, stats: Callable[[], dict[str, Any]], method: str, target: str, body: bytes
) -> Reply:
    """Answer a control request."""
    path, _, query = target.partition("?")
    given = {name: values[-1] for name, values in parse_qs(query).items()}
    match method, path.removeprefix(PREFIX).split("/", 1):
        case "GET", ["health"]:
            return _json({"ok": True})
        case "GET", ["stats"]:
            return _json(stats())
        case "GET", ["journal"]:
            return _journal(world, given)
        case "DELETE", ["journal"]:
            world.journal.clear()
            return _json({"ok": True})
        case "DELETE", ["tries"]:
            world.tries.clear()
            return _json({"ok": True})
        case "PUT", ["scripts", model]:
            return _put(world, unquote(model), body)
        case "DELETE", ["scripts", model]:
            return _json({"ok": world.scripts.drop(unquote(model))})
        case "DELETE", ["scripts"]:
            world.scripts.clear()
            return _json({"ok": True})
    return _json({"error": f"no such control: {method} {path}"}, 404)


def _journal(world: World, given: dict[str, str]) -> Reply:
    after = given.get("after", "0")
    if not after.isascii() or not after.isdigit():
        return _json({"error": "after: a number is needed"}, 400)
    found = world.journal.read(int(after), given.get("id", ""), given.get("model", ""))
    shown = [entry.show() for entry in found]
    return _json({"entries": shown, "last": world.journal.last, "now": time.monotonic()})


def _put(world: World, model: str, body: bytes) -> Reply:
    try:
        script = msgspec.json.decode(body, type=Script)
        list(script.reply().body)  # its base64 is read now, while somebody can be told
    except (msgspec.DecodeError, UnicodeDecodeError, binascii.Error) as why:
        return _json({"error": str(why)}, 400)
    try:
        world.scripts.put(model, script)
    except TooManyScripts:
        return _json({"error": "too many scripts"}, 409)
    return _json({"ok": True})


def _json(value: Any, status: int = 200) -> Reply:
    return whole(status, list(_HEADERS), orjson.dumps(value))
