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
from vai.policy.blame import UPSTREAM_AUTH, of_lent_key
from vai.providers.anthropic.verbatim import Sniffer, edit_message, is_marked, report_of
from vai.providers.failure import from_answer
from vai.types.catalogue import Coster
from vai.types.message import Usage
from vai.types.provider import ProviderRow, WireRequest

__all__ = ["Verbatim"]


class Verbatim:
    """A lane that passes bytes. `edited` is VAI's dialect, else every byte is the upstream's.

    `lent` says that the upstream is spoken to with the gateway's own key; `cost` is
    told in answers that are edited.
    """

    verbatim = True
    ended_early = False
    following = None

    def __init__(
        self,
        wire: WireRequest,
        row: ProviderRow,
        *,
        streaming: bool,
        edited: bool,
        lent: bool = False,
        cost: Coster | None = None,
    ) -> None:
        self._wire = wire
        self._row = row
        self._edited = edited
        self._lent = lent
        self._splitter = FrameSplitter()
        self._cost = cost
        self._sniffer = Sniffer(row, cost)
        self._forwarded = 0
        self._frames = 0
        self.usage = Usage()
        self.stop_reason: str | None = None
        self.streaming = streaming
        self.started = self.done = False
        self.dropped: list[str] = []
        self.fault: UpstreamFault | None = None
        self.failure: UpstreamFault | None = None

    def request(self) -> WireRequest:
        return self._wire

    def reads(self, media_type: str) -> bool:
        return media_type == "text/event-stream"

    def rejection(self, status: int, headers: Mapping[str, str], body: bytes) -> UpstreamFault:
        fault = from_answer(self._row.id, self._row.name, status, headers, body)
        return of_lent_key(fault) if self._lent else fault

    def rejected(self, fault: UpstreamFault, body: bytes) -> bytes:
        if fault.code == UPSTREAM_AUTH:
            raise fault  # in the upstream's words it would be the caller's key that is wrong
        # Clients match the wording of these bodies, so not a byte is changed.
        return body

    def whole(self, body: bytes) -> bytes:
        if self._edited:
            body, report = edit_message(body, self._row, self._cost)
        else:
            report = report_of(body)
        self.usage, self.stop_reason = report.usage, report.stop_reason
        return body

    def feed(self, data: bytes) -> bytes | None:
        frames = self._splitter.feed(data)
        if not frames:
            self.fault = self._splitter.fault
            return None
        self._forwarded += len(frames)
        self._frames += frames.count(b"\ndata:")
        if not self.started:
            self.started = b"content_block_start" in frames
        return self._read_along(frames) if is_marked(frames) else frames

    def _read_along(self, frames: bytes) -> bytes:
        """Take in the frames that count, and edit them where they are to be."""
        sniffer = self._sniffer
        if self._edited:
            frames = sniffer.edit_frames(frames)
        else:
            sniffer.feed(frames)
        self.usage, self.stop_reason = sniffer.usage, sniffer.stop_reason
        self.failure = sniffer.fault
        # An error frame ends the stream too: it has been passed on, and nothing may follow.
        self.done = sniffer.done or sniffer.fault is not None
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
