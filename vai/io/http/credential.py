"""A credential belongs to one origin and goes nowhere else.

The check is made where the header is rendered, and that is the only way to get it out: a wrong
base URL, a redirect or a mixed-up row ends in an error and not in a leaked key.
"""

from __future__ import annotations

from typing import NoReturn, final

from vai.io.http.head import Origin
from vai.secret import Secret
from vai.types.provider import AuthStyle

__all__ = ["Credential"]


@final
class Credential:
    """A secret and the only origin it may be sent to."""

    __slots__ = ("_origin", "_secret")

    def __init__(self, secret: Secret, origin: Origin) -> None:
        self._secret = secret
        self._origin = origin

    def to_header(self, origin: Origin, style: AuthStyle) -> tuple[str, str]:
        """The header that presents the secret to `origin`.

        Raises:
            ValueError: `origin` is not the one the credential is bound to.
        """
        if origin != self._origin:
            raise ValueError("the credential is bound to another origin")
        if style == "bearer":
            return "Authorization", "Bearer " + self._secret.reveal()
        return style, self._secret.reveal()

    def __repr__(self) -> str:
        return f"Credential({self._secret!r}, {self._origin.authority})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a credential cannot be pickled")
