"""What the decoders of all wire formats share: where their events go, and how they fail."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from vai.errors import UpstreamBroken, UpstreamFault
from vai.types.message import Usage

if TYPE_CHECKING:
    from vai.providers.decode.text_filter import TextFilter
    from vai.types.events import Event

__all__ = ["EventSink", "StreamDecoder"]


class EventSink:
    """The events of one response until they are taken, and its end: complete or a fault."""

    def __init__(self, provider: str) -> None:
        self.usage = Usage()
        self.fault: UpstreamFault | None = None
        self.is_complete = False
        self._provider = provider
        self._out: list[Event] = []

    def take_events(self) -> list[Event]:
        """The events since the last call."""
        out, self._out = self._out, []
        return out

    def fail(self, fault: UpstreamFault) -> None:
        """The stream ends here, incomplete."""
        if not (self.is_complete or self.fault):
            self.fault = fault

    def fail_unusable(self, what: str, code: str) -> None:
        """The stream ends here, because `what` makes the response unusable."""
        self.fail(self.unusable_fault(what, code))

    def unusable_fault(self, what: str, code: str) -> UpstreamBroken:
        """The fault of a response that cannot be used; `code` without its ``upstream_``."""
        return UpstreamBroken.from_code(f"upstream_{code}", what, provider=self._provider)


class StreamDecoder(ABC):
    """Reads one response; its events, its usage and its fault are the sink's.

    Args:
        provider: the provider's id.
        title: the provider's name in errors.
        text: what the text passes on its way to the client, if anything.
    """

    sink: EventSink

    def __init__(self, provider: str, title: str, text: TextFilter | None = None) -> None:
        self._provider = provider
        self._title = title
        self._filter = text

    @property
    def met_stop_sequence(self) -> bool:
        """Whether the client's stop sequence ended the response, and not the upstream."""
        return self._filter is not None and self._filter.stop_sequence is not None

    @abstractmethod
    def read_event(self, data: bytes, /) -> None:
        """The data of one server-sent event."""

    @abstractmethod
    def read_body(self, data: bytes, /) -> None:
        """A JSON response, read to its end."""

    @abstractmethod
    def read_done_marker(self) -> None:
        """The server says in OpenAI's way that nothing follows: ``[DONE]``."""

    @abstractmethod
    def end_stream(self) -> None:
        """The response is over."""
