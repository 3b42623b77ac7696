"""Whether a response shows that the settings have a wrong address for the provider.

Invariants: a provider's own error stays as it is. A response counts as one from a wrong address
if it has one of the typical statuses, and either no error object of an API, or one
which reports that the path does not exist.
"""

from __future__ import annotations

import re
from typing import Any, Final

from vai.errors import UpstreamFault

__all__ = ["UPSTREAM_ADDRESS", "address_message", "is_bare_not_found", "is_wrong_address"]

UPSTREAM_ADDRESS: Final = "upstream_address"
"""The code of a fault whose likely cause is the provider's address in the settings."""

_STATUSES: Final = frozenset({404, 405, 410, 421})
_URL_CODES: Final = frozenset({"unknown_url", "unknown_path"})
_RESOURCE: Final = r"(?:page|url|uri|path|route|resource|endpoint|api|http)"
_BARE = re.compile(
    r"(?:error:? )?(?:\(?\d{3}\)?:? ?)?(?:- )?"
    rf"(?:(?:the )?(?:requested )?{_RESOURCE}\b[^.]{{0,80}})?"
    r"(?:(?:was |is |could )?not (?:be )?(?:found|allowed)|method not allowed|does not exist"
    r"|gone|misdirected request)(?: on (?:this|the) server)?\.?",
    re.IGNORECASE,
)
"""Messages that mean only that the server does not have the path."""
_OF_THE_URL = re.compile(
    r"^invalid url\b|\bunknown (?:request )?(?:url|uri|path|route|endpoint)\b"
    r"|\bunrecognized (?:request )?(?:url|path|route)\b|\bno route\b|\bno such (?:route|path|url)\b"
    r"|^cannot (?:post|get) /|^default backend\b",
    re.IGNORECASE,
)
_MODEL = re.compile(r"\b(?:models?|deployments?)\b", re.IGNORECASE)


def is_wrong_address(
    status: int, error: Any, names: tuple[str, ...], words: str, *, nested: bool
) -> bool:
    """Whether an error response comes from an address without the provider's API.

    Args:
        error: the response's own error object, or the whole body without one; no object for a
            page, for plain text and for an empty body.
        names: its codes and types in lower case.
        words: its message.
        nested: whether the error object is a member of another one.
    """
    if status not in _STATUSES:
        return False
    text = words.strip()
    if _OF_THE_URL.search(text) or not _URL_CODES.isdisjoint(names):
        return True
    if not nested and _BARE.fullmatch(text):
        return True
    if _MODEL.search(f"{text} {' '.join(names).replace('_', ' ')}"):
        return False
    return not text or not isinstance(error, dict) or not (nested or _is_of_an_api(error))


def is_bare_not_found(fault: UpstreamFault) -> bool:
    """Whether the message of a provider's own error states only that something was not found.

    Anthropic and Azure send this for paths that they do not have; for a model they name it.
    """
    return fault.upstream_status in _STATUSES and bool(_BARE.fullmatch(fault.message.strip()))


def address_message(name: str, status: int) -> str:
    """The message for clients; it leaves out the address, which is the operator's."""
    return (
        f"{name} answered with status {status} and no error of its API:"
        " the gateway's address for this provider seems wrong"
    )


def _is_of_an_api(error: dict[str, Any]) -> bool:
    """Whether a bare, unnested object is an error of a model API (vLLM).

    Frameworks and proxies send `detail`, a title, or a message and the status number.
    """
    return error.get("object") == "error" or any(
        isinstance(error.get(name), str) for name in ("type", "code")
    )
