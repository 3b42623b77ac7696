"""Does the work on a request's body, in the worker or in the helper process.

Invariants:
- The helper does the work that may hold the loop for more than some milliseconds: that on bodies
  larger than `LARGE_BODY`, and on smaller ones with more than `MANY_VALUES` values. The worker does
  the rest itself, because the transfer takes longer than the work.
- The gateway refuses a body of more values than `most_values`.
- Both processes do the same: a piece of work is a function of the routing fields, of the request as
  it was received, and of arguments that can be pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Protocol, TypeVar

import msgspec

from vai.codec import routing_fields
from vai.codec.head import HeaderFields
from vai.codec.routing_fields import RoutingFields
from vai.io.helper import HelperProcess
from vai.policy import estimate
from vai.policy.headers import fields_to_upstream

if TYPE_CHECKING:  # the helper process needs neither of them
    from vai.io.http.provider_keys import ProviderKey
    from vai.policy.route import Route

__all__ = [
    "LARGE_BODY",
    "MANY_VALUES",
    "BodyPreparer",
    "ParsedBody",
    "PreparedRequest",
    "ReceivedRequest",
    "RequestCopy",
]

P = ParamSpec("P")
T = TypeVar("T")

LARGE_BODY: Final = 512 * 1024
"""Bytes. Reading and writing as many takes up to 10 ms (measured: text of escapes)."""
MANY_VALUES: Final = 3000
"""Values of a body whose translation takes up to 30 ms (measured: small blocks)."""


class ReceivedRequest(Protocol):
    """A request whose body has been received."""

    @property
    def body(self) -> bytes:
        """The bytes received."""
        ...

    @property
    def header_fields(self) -> HeaderFields:
        """All of its header fields."""
        ...


class RequestCopy:
    """The body and the header fields of a received request, to be sent to the helper."""

    def __init__(self, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.body = body
        self.header_fields = HeaderFields(headers)


class ParsedBody(msgspec.Struct, frozen=True):
    """The routing fields of a body. Where the helper works on the body, their `value` is empty.

    `estimated_tokens` are those of the body.
    """

    fields: RoutingFields
    estimated_tokens: int
    needs_helper: bool


class PreparedRequest(msgspec.Struct, frozen=True):
    """A client's request before VAI chooses a target.

    Attributes:
        received: its body and its header fields.
        body: its parsed body.
        routes: the targets of its model name, in order; at least one.
        byok_keys: provider -> BYOK key, for those that the client sent.
    """

    received: ReceivedRequest
    body: ParsedBody
    routes: tuple[Route, ...]
    byok_keys: Mapping[str, ProviderKey]


class BodyPreparer:
    """Does the work on the request bodies of one worker.

    Args:
        most_values: JSON values of one body.
    """

    def __init__(self, most_values: int) -> None:
        self._most = most_values
        self.helper = HelperProcess()

    async def parse_body(self, body: bytes) -> ParsedBody:
        """Read the routing fields of a body.

        Raises:
            InvalidRequest: see `read_routing_fields`, or it has too many values.
            Overloaded: see `HelperProcess.run_work`.
        """
        if len(body) > LARGE_BODY:
            return await self.helper.run_work(_parse_in_helper, body, self._most)
        fields = routing_fields.read_routing_fields(body, self._most)
        tokens = estimate.body_tokens(fields.value, body)
        return ParsedBody(fields, tokens, needs_helper=fields.values > MANY_VALUES)

    async def run_work(
        self,
        work: Callable[Concatenate[RoutingFields, ReceivedRequest, P], T],
        parsed: ParsedBody,
        request: ReceivedRequest,
        *arguments: P.args,
        **named: P.kwargs,
    ) -> T:
        """What `work` returns for this request.

        Raises:
            VaiError: `work` raised it.
            Overloaded: see `HelperProcess.run_work`.
        """
        if not parsed.needs_helper:
            return work(parsed.fields, request, *arguments, **named)
        headers = fields_to_upstream(request.header_fields)  # without the client's keys
        return await self.helper.run_work(
            _run_in_helper, work, request.body, headers, arguments, named
        )

    async def aclose(self) -> None:
        """End the helper."""
        await self.helper.aclose()


# -- in the helper -------------------------------------------------------------------------


def _parse_in_helper(body: bytes, most_values: int) -> ParsedBody:
    fields = routing_fields.read_routing_fields(body, most_values)
    tokens = estimate.body_tokens(fields.value, body)
    # Without the value, which the positions would else be computed from.
    sent = msgspec.structs.replace(fields, value={}, located=fields.members)
    return ParsedBody(sent, tokens, needs_helper=True)


def _run_in_helper(
    work: Callable[..., T],
    body: bytes,
    headers: list[tuple[str, str]],
    arguments: tuple[Any, ...],
    named: dict[str, Any],
) -> T:
    return work(
        routing_fields.read_routing_fields(body), RequestCopy(body, headers), *arguments, **named
    )
