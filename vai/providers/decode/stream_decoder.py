"""The base of the stream decoders of all wire formats, and the sink for their events."""

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
    """Holds the events of one response until they are taken, and how it ended."""

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
        """End the stream with `fault`, unless it has already ended."""
        if not (self.is_complete or self.fault):
            self.fault = fault

    def fail_unusable(self, what: str, code: str) -> None:
        """End the stream, because `what` makes the response unusable."""
        self.fail(self.unusable_fault(what, code))

    def unusable_fault(self, what: str, code: str) -> UpstreamBroken:
        """The fault of an unusable response; `code` is without its prefix ``upstream_``."""
        return UpstreamBroken.from_code(f"upstream_{code}", what, provider=self._provider)


class StreamDecoder(ABC):
    """Decodes one response; the sink holds its events, its usage and its fault.

    Args:
        provider: the provider's id.
        title: the provider's name in errors.
        text: the filter that the text passes through, if any.
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
        """Read the data of one server-sent event."""

    @abstractmethod
    def read_body(self, data: bytes, /) -> None:
        """Read a whole JSON response."""

    @abstractmethod
    def read_done_marker(self) -> None:
        """Read OpenAI's end mark ``[DONE]``: no event follows."""

    @abstractmethod
    def end_stream(self) -> None:
        """End the response: no more data follows."""
