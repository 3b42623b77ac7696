"""A credential belongs to one origin and goes nowhere else.

The check is made where the header is rendered, and that is the only way to get it out: a wrong
base URL, a redirect or a mixed-up row ends in an error and not in a leaked key.

Its alphabet is checked when it is made, before any library could quote the value in an error
(h11 does).
"""

from __future__ import annotations

import re
from typing import Final, NoReturn, final

from vai.errors import InvalidRequest
from vai.io.http.head import Origin
from vai.io.secret import Secret
from vai.types.provider import AuthStyle

__all__ = ["CREDENTIAL_LIMIT", "Credential"]

CREDENTIAL_LIMIT: Final = 4096
"""Bytes. Longer than any provider's key or token, shorter than any server's header limit."""

# Printable ASCII with single inner spaces: what survives every header parser unchanged.
_ALPHABET: Final = re.compile(r"[\x21-\x7e]+(?: [\x21-\x7e]+)*")


@final
class Credential:
    """A secret and the only origin it may be sent to.

    Args:
        secret: an API key or token.
        origin: where it belongs.
        name: where it came from (a header or setting name), for the error.

    Raises:
        InvalidRequest: not printable ASCII, empty, or above `CREDENTIAL_LIMIT`. The error names
            the place, never the value.
    """

    __slots__ = ("_origin", "_secret")

    def __init__(self, secret: Secret, origin: Origin, *, name: str = "credential") -> None:
        text = secret.reveal()
        if len(text) > CREDENTIAL_LIMIT or not _ALPHABET.fullmatch(text):
            raise InvalidRequest(
                f"{name} must be 1 to {CREDENTIAL_LIMIT} printable ASCII characters",
                param=name,
                code="invalid_credential",
            )
        self._secret = secret
        self._origin = origin

    def header(self, origin: Origin, style: AuthStyle) -> tuple[str, str]:
        """The header that presents the secret to `origin`.

        Raises:
            ValueError: `origin` is not the one the credential is bound to.
        """
        if origin != self._origin:
            raise ValueError("the credential is bound to another origin")
        if style == "bearer":
            return "Authorization", "Bearer " + self._secret.reveal()
        return "x-api-key", self._secret.reveal()

    def __repr__(self) -> str:
        return f"Credential({self._secret!r}, {self._origin.authority})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential cannot be pickled")
