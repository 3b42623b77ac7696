"""The guard's rules once more, read from the bytes of a head by patterns, line by line.

It is slower than `vai.codec.head`, which splits a head first; both must give one verdict.
"""

from __future__ import annotations

import re

from vai.codec import head as rules
from vai.codec.head import HeadError

__all__ = ["judge_head"]

_DECIDING = re.compile(
    rb"\r\n(host|content-length|transfer-encoding|expect|upgrade):[ \t]*+([^\r]*)", re.IGNORECASE
)
_HOST = re.compile(rb"(?:[A-Za-z0-9\-._~]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{0,5})?[ \t]*")
_ABSOLUTE = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]++) (?i:https?)://([^/?# \r]++)([^# \r]*+)(?= )"
)
_HOST_LINE = re.compile(rb"\r\nhost:[ \t]*+([^\r]*)", re.IGNORECASE)
_LENGTH = re.compile(rb"[0-9]{1,19}[ \t]*")


def judge_head(head: bytes) -> tuple[bytes, HeadError | None]:
    """The head in origin-form, and why it is refused, if it is."""
    match = _ABSOLUTE.match(head)
    if match is None:
        return head, _judge_plain(head)
    method, authority, target = match.groups()
    path = target if target.startswith(b"/") else b"/" + target
    plain = method + b" " + path + head[match.end() :]
    verdict = _judge_plain(plain)
    host = _HOST_LINE.search(plain)
    named = authority if host is None else host[1].rstrip(b" \t")
    if verdict is None and named.lower() != authority.lower():
        verdict = rules._OTHER_HOST
    if verdict is None and _HOST.fullmatch(authority) is None:
        verdict = rules._BAD_TARGET
    return plain, verdict


def _judge_plain(head: bytes) -> HeadError | None:
    if len(head) > rules.MAX_HEAD:
        return rules._TOO_LARGE
    if any(len(part) > rules.MAX_TARGET for part in head.split(b" ", 2)[:2]) and (
        len(head) > rules.MAX_TARGET
    ):
        return rules._LONG_TARGET
    if rules._HEAD.fullmatch(head) is None:
        return rules._explain_head(head)
    fields: dict[bytes, bytes] = {}
    for name, value in _DECIDING.findall(head):
        name = name.lower()
        if name in fields:
            if name != b"upgrade":
                return rules._REPEATED[name.decode()]
            value = fields[name] + b"," + value
        fields[name] = value
    host = fields.get(b"host")
    if host is None:
        if b" HTTP/1.1" in head.partition(b"\r\n")[0]:
            return rules._NO_HOST
    elif _HOST.fullmatch(host) is None:
        return rules._BAD_HOST
    return _judge_framing(fields)


def _judge_framing(fields: dict[bytes, bytes]) -> HeadError | None:
    length = fields.get(b"content-length")
    if b"transfer-encoding" in fields:
        return rules._CHUNKED if length is None else rules._TWO_LENGTHS
    if length is not None and _LENGTH.fullmatch(length) is None:
        return rules._BAD_LENGTH
    expect = fields.get(b"expect")
    if expect is not None and expect.rstrip(b" \t").lower() != b"100-continue":
        return rules._EXPECTATION
    upgrade = fields.get(b"upgrade", b"").lower()
    if b"websocket" in upgrade and length is not None and int(length) > 0:
        return rules._UPGRADE_BODY
    return None
