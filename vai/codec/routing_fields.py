"""The members of a Messages body that the gateway reads before it selects a target.

Invariants: the client's bytes are the request. Routing replaces the model's value and removes
members meant for the gateway; every other byte stays unchanged, so a forwarded body means
upstream exactly what it meant here. Edits use the offsets that strict parsing found or proved,
and never search for text.
"""

from __future__ import annotations

import re
from typing import Any, TypeVar

import msgspec

from vai.codec import json
from vai.codec.json import Member
from vai.errors import InvalidRequest

__all__ = [
    "VAI_FIELDS",
    "RoutingFields",
    "read_routing_fields",
    "rewrite_body",
]

VAI_FIELDS = ("voice", "output", "output_format", "extensions", "provider_keys")
"""Top-level members that are VAI's own: a provider would refuse them."""

_VAI_FIELDS = frozenset(VAI_FIELDS)

MAX_PROVIDER_KEYS = 32
"""Entries of `provider_keys`; there are far fewer providers."""

MAX_MODEL = 1024
"""Characters of `model`: it is repeated in paths, headers, sentences and log lines."""


class RoutingFields(msgspec.Struct, frozen=True):
    """The members that steer the gateway, and the position of every member.

    Attributes:
        model: as the client wrote it, prefix or alias included.
        stream: whether the response is an event stream; absent or null is False.
        max_tokens: at least 0; None when absent or null.
        provider_keys: the client's own credentials by the provider name in the body.
            Secrets: no text form of the routing fields shows them.
        vai_fields: which of `VAI_FIELDS` are present, in that order.
        value: the whole body parsed, without `provider_keys`.
        located: the position of each top-level member in the body; None where the body is compact
            and has no `provider_keys`, so that `value` gives the positions.
        values: how many JSON values the body has.
        size: length of the body in bytes; `rewrite_body` refuses any other body.
    """

    model: str
    stream: bool
    max_tokens: int | None
    provider_keys: dict[str, str] | None
    vai_fields: tuple[str, ...]
    value: dict[str, Any]
    located: dict[str, Member] | None
    size: int
    values: int

    @property
    def members(self) -> dict[str, Member]:
        """The position of each top-level member in the body."""
        if self.located is not None:
            return self.located
        return json.locate_compact_members(self.value)

    def find_member(self, name: str) -> Member | None:
        """The position of one top-level member in the body, None where there is none."""
        if self.located is not None:
            return self.located.get(name)
        return json.find_member(self.value, name, self.size) if name in self.value else None

    def __repr__(self) -> str:
        # The payload is as private as the keys, and a repr ends up in logs and tracebacks.
        keys = len(self.provider_keys or ())
        return (
            f"RoutingFields(model={self.model!r}, stream={self.stream}, "
            f"max_tokens={self.max_tokens}, provider_keys=<{keys} hidden>, "
            f"vai_fields={self.vai_fields}, size={self.size})"
        )

    def __rich_repr__(self) -> Any:
        # msgspec defines one on every Struct that lists all fields; rich prefers it to __repr__.
        yield repr(self)


def read_routing_fields(body: bytes, most_values: int | None = None) -> RoutingFields:
    """Read the routing fields of a Messages body of at most that many values.

    Raises:
        InvalidRequest: the body is not strict JSON (see `vai.codec.json`), or one of the
            members above is missing or of a wrong type; `param` names it.
    """
    value, located, values = json.load_members(body, most_values)
    model = value.get("model")
    if type(model) is not str or not model:
        raise _expected_error("model", "a non-empty string")
    if len(model) > MAX_MODEL:
        raise _expected_error("model", f"at most {MAX_MODEL} characters")
    vai_fields: tuple[str, ...] = ()
    if not _VAI_FIELDS.isdisjoint(value):  # hardly any request has one
        vai_fields = tuple([name for name in VAI_FIELDS if name in value])
        if located is None and "provider_keys" in value:  # which `value` will not have
            located = json.locate_members(body)
    return RoutingFields(
        model=model,
        stream=_read_optional(value, "stream", bool, "true or false") or False,
        max_tokens=_read_max_tokens(value),
        provider_keys=_take_provider_keys(value) if "provider_keys" in value else None,
        vai_fields=vai_fields,
        value=value,
        located=located,
        size=len(body),
        values=values,
    )


def rewrite_body(
    body: bytes,
    routing_fields: RoutingFields,
    *,
    model: str | None = None,
    max_tokens: int | None = None,
    drop: str | None = None,
) -> bytes:
    """Replace the values of existing members and remove the member `drop`, in one copy; in none
    where nothing changes.

    Raises:
        ValueError: `fields` was not read from a body of this length, or `drop` is
            ``model``, without which there is no request.
    """
    if len(body) != routing_fields.size:
        raise ValueError("the routing fields belong to another body")
    if drop == "model":
        raise ValueError("the model cannot be cut")
    edits: list[tuple[int, int, bytes]] = []
    for name, value in (("model", model), ("max_tokens", max_tokens)):
        if value is not None and (member := routing_fields.find_member(name)) is not None:
            text = json.dumps(value)
            if body[member.value : member.end] != text:
                edits.append((member.value, member.end, text))
    if drop is not None and routing_fields.find_member(drop) is not None:
        start, end = _span_to_remove(routing_fields.members, drop)
        edits.append((start, end, b""))
    if not edits:
        return body
    view = memoryview(body)  # a slice of bytes would be a copy of its own
    if len(edits) == 1:  # nearly always: the model
        start, end, text = edits[0]
        return b"".join((view[:start], text, view[end:]))
    pieces: list[bytes | memoryview] = []
    at = 0
    for start, end, text in sorted(edits):
        pieces += (view[at:start], text)
        at = end
    pieces.append(view[at:])
    return b"".join(pieces)


def _span_to_remove(members: dict[str, Member], name: str) -> tuple[int, int]:
    """The bytes to remove so that one comma goes with the member, if there is any."""
    order = list(members)
    index = order.index(name)
    member = members[name]
    if index > 0:
        return members[order[index - 1]].end, member.end
    if len(order) > 1:
        return member.key, members[order[1]].key
    return member.key, member.end


T = TypeVar("T")


def _read_optional(value: dict[str, Any], name: str, kind: type[T], words: str) -> T | None:
    member = value.get(name)
    # An exact match: True is an int to isinstance.
    if member is None or type(member) is kind:
        return member
    raise _expected_error(name, words)


def _read_max_tokens(value: dict[str, Any]) -> int | None:
    max_tokens = _read_optional(value, "max_tokens", int, "an integer")
    if max_tokens is not None and max_tokens < 0:  # 0 is legal: it warms the provider's cache
        raise _expected_error("max_tokens", "at least 0")
    return max_tokens


# A key becomes a header value upstream; VAI refuses characters that no header may carry before
# any library can quote them in an error.
_KEY = re.compile(r"[\x21-\x7e]{1,4096}")


def _take_provider_keys(value: dict[str, Any]) -> dict[str, str] | None:
    """Remove the keys from `value`, so that VAI may translate, log and keep the rest."""
    keys = value.pop("provider_keys")
    if keys is None:
        return None
    if type(keys) is not dict or len(keys) > MAX_PROVIDER_KEYS:
        raise _expected_error("provider_keys", f"an object of at most {MAX_PROVIDER_KEYS} keys")
    for key in keys.values():
        if type(key) is not str or not _KEY.fullmatch(key):
            raise _expected_error("provider_keys", "keys of printable ASCII without blanks")
    return keys


def _expected_error(name: str, rule: str) -> InvalidRequest:
    return InvalidRequest(f"{name}: expected {rule}", param=name)
