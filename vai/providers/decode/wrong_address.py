"""Whether an answer shows that the settings lead to a place where the provider's API is not.

Invariants: a provider's error stays its error. An answer counts as one of another
place when it has one of the statuses of such a place, and no error object of an API, or one that
says that there is nothing at this path.
"""

from __future__ import annotations

import re
from typing import Any, Final

from vai.errors import UpstreamFault

__all__ = ["UPSTREAM_ADDRESS", "address_message", "is_bare_not_found", "is_wrong_address"]

UPSTREAM_ADDRESS: Final = "upstream_address"
"""The code of a failure for which the provider's address in the settings seems to blame."""

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
"""All that servers say of a path that they do not have."""
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
    """Whether an error answer is one of a place where the provider's API is not.

    Args:
        error: the answer's own error object, or the whole where there is none; no object for a
            page, for plain text and for an empty body.
        names: its codes and types in lower case.
        words: what it says to a human.
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
    """Whether a provider's own error says no more than that something was not found.

    Anthropic and Azure answer so at paths that they do not have; of a model they give the name.
    """
    return fault.upstream_status in _STATUSES and bool(_BARE.fullmatch(fault.message.strip()))


def address_message(name: str, status: int) -> str:
    """What clients read; the address itself is the operator's."""
    return (
        f"{name} answered with status {status} and no error of its API:"
        " the gateway's address for this provider seems wrong"
    )


def _is_of_an_api(error: dict[str, Any]) -> bool:
    """Whether an object without another around it is an error of an API of models (vLLM).

    Frameworks and proxies say `detail`, a title, or a message and the number of the status.
    """
    return error.get("object") == "error" or any(
        isinstance(error.get(name), str) for name in ("type", "code")
    )
