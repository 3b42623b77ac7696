"""The verbatim lane: the target speaks the caller's protocol, so its bytes are the answer.

Frames are sniffed for usage and for the end of the stream, never rebuilt. Only complete
frames are passed on: when the upstream breaks off in the middle of one, the caller gets a
whole error frame and not half of something else.

With a provider prefix the answer is in VAI's dialect: the frames that carry model and
usage are edited, all others are the upstream's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from vai.codec.sse import FrameSplitter
from vai.errors import UpstreamBroken, UpstreamFault
from vai.policy import estimate
from vai.providers.anthropic.verbatim import Sniffer, edit_frames, edit_message, message_usage
from vai.types.message import Usage
from vai.types.provider import WireRequest

__all__ = ["Verbatim"]


class Verbatim:
    """A lane that passes bytes. `prefix` is ``provider/`` in VAI's dialect, else None."""

    verbatim = True

    def __init__(self, wire: WireRequest, *, streaming: bool, prefix: str | None) -> None:
        self._wire = wire
        self._prefix = prefix
        self._splitter = FrameSplitter()
        self._sniffer = Sniffer()
        self._forwarded = 0
        self._frames = 0
        self._usage: Usage | None = None
        self.streaming = streaming
        self.dropped: list[str] = []
        self.fault: UpstreamFault | None = None

    @property
    def usage(self) -> Usage:
        return self._usage or self._sniffer.usage

    @property
    def started(self) -> bool:
        return self._sniffer.started

    @property
    def failed(self) -> bool:
        return self._sniffer.failed

    @property
    def done(self) -> bool:
        return self._sniffer.done

    def request(self) -> WireRequest:
        return self._wire

    def rejected(self, status: int, headers: Mapping[str, str], body: bytes) -> bytes:
        # Clients match the wording of these bodies, so not a byte is changed.
        return body

    def whole(self, body: bytes) -> bytes:
        self._usage = message_usage(body)
        return edit_message(body, self._prefix) if self._prefix else body

    def feed(self, data: bytes) -> bytes | None:
        frames = self._splitter.feed(data)
        if not frames:
            return None
        self._forwarded += len(frames)
        self._frames += frames.count(b"\ndata:")
        if self._sniffer.see(frames) and self._prefix:
            return edit_frames(frames, self._prefix)
        return frames

    def end(self) -> None:
        self.fault = UpstreamBroken(
            "The provider closed the stream before the end of its answer",
            code="upstream_truncated",
        )

    def estimate(self) -> Usage:
        return Usage(
            input_tokens=estimate.input_tokens(len(self._wire.body)),
            output_tokens=estimate.output_tokens(self._forwarded, self._frames),
        )
