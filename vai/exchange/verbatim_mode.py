"""The verbatim mode: the target speaks the client's protocol, so its bytes are the response.

VAI checks frames and reads usage and the end of the stream from them, but never rebuilds them. It
passes on complete frames only: when the upstream breaks off in the middle of one, or sends bytes
that are no event, the client gets a complete error frame and not half of another one.

With a provider prefix the response is in VAI's dialect: VAI edits the frames that carry model and
usage; all others are the upstream's bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any, Final

from vai.codec.sse import MAX_FRAME, FrameSplitter, encode_events
from vai.errors import InvalidRequest, UpstreamBroken, UpstreamFault
from vai.exchange.mode import is_page
from vai.policy import estimate
from vai.policy.error_attribution import UPSTREAM_AUTH, hide_gateway_key_error
from vai.providers.anthropic.bent import parse_lenient_message
from vai.providers.anthropic.calls import CallRepairer
from vai.providers.anthropic.frames import decode_object, is_event
from vai.providers.anthropic.verbatim import (
    VerbatimReport,
    VerbatimStreamObserver,
    collect_stream,
    is_passed_on,
    read_message,
)
from vai.providers.decode.accumulate import events_from_message
from vai.providers.decode.stream_body import no_response_fault
from vai.providers.decode.upstream_errors import fault_from_response
from vai.types.catalogue import CostFunction
from vai.types.message import Usage
from vai.types.provider import ProviderSpec, WireRequest

__all__ = ["VerbatimMode"]

_BOM: Final = b"\xef\xbb\xbf"
_BLANKS: Final = b" \t\r\n" + _BOM
"""What may stand before the first character that sets an event stream apart from JSON."""
_MAX_HELD: Final = 64 << 10
"""Bytes of a beginning without content that are held back."""


class VerbatimMode:
    """A mode that passes bytes. `edited`: VAI's dialect; else every byte is the upstream's.

    `uses_gateway_key`: the request carries the gateway's own key; VAI writes `cost` into
    responses that it edits.
    """

    is_verbatim = True
    ended_early = False
    continuation = None

    def __init__(
        self,
        wire: WireRequest,
        spec: ProviderSpec,
        *,
        streaming: bool,
        edited: bool,
        uses_gateway_key: bool = False,
        cost: CostFunction | None = None,
        calls: CallRepairer | None = None,
    ) -> None:
        self.upstream_request = wire
        self._spec = spec
        self._edited = edited
        self._uses_gateway_key = uses_gateway_key
        self._cost = cost
        # The sniffer refers to the meter alone, and through a picklable object: a reference to
        # `self` would keep the body until the garbage collector runs.
        meter = self._meter = estimate.TextMeter()
        self._calls = calls
        if streaming:  # a JSON response needs neither
            self._splitter = FrameSplitter()
            self._observer = VerbatimStreamObserver(
                spec,
                cost,
                edited=edited,
                generated=meter.add_text,
                calls=calls,
                estimate=partial(_estimated_members, meter),
            )
        self._held: bytes | None = b""
        self._is_json: bool | None = None
        self._expects_deltas = False
        self._body = bytearray()
        self.usage = Usage()
        self.stop_reason: str | None = None
        self.is_streaming = streaming
        self.has_content = self.is_complete = False
        self.dropped_fields: list[str] = []
        self.stream_error: UpstreamFault | None = None
        self.forwarded_error: UpstreamFault | None = None

    def accepts_media_type(self, media_type: str) -> bool:
        # The body itself shows what it is: JSON for a stream, a stream for JSON, under any label.
        return not is_page(media_type)

    def parse_rejection(
        self, status: int, headers: Mapping[str, str], body: bytes
    ) -> UpstreamFault:
        fault = fault_from_response(self._spec.id, self._spec.name, status, headers, body)
        return hide_gateway_key_error(fault) if self._uses_gateway_key else fault

    def forward_rejection(self, fault: UpstreamFault, body: bytes) -> bytes:
        # In the upstream's words a refused gateway key would look like the client's own.
        if fault.code == UPSTREAM_AUTH or not is_passed_on(body, fault):
            raise fault
        return body

    def decode_json_body(self, body: bytes) -> bytes:
        calls = self._calls
        try:
            if body.lstrip(_BLANKS)[:1] != b"{":
                body, calls = collect_stream(body, self._spec, calls), None
            body, report = read_message(
                body.removeprefix(_BOM), self._spec, self._cost, edited=self._edited, calls=calls
            )
        except UpstreamFault as fault:
            raise hide_gateway_key_error(fault) if self._uses_gateway_key else fault from None
        self._take_report(report)
        if report.usage.output_tokens is None:
            self._estimate_output(body)
        return body

    def feed_stream(self, data: bytes) -> bytes | None:
        # Nearly every read brings only deltas of a stream that has begun, and nothing but their
        # text is new.
        if self._expects_deltas and self._observer.count_deltas(data):
            return data
        passed = self._feed_any(data)
        self._expects_deltas = (
            self._is_json is False
            and self._held is None
            and self._splitter.is_empty
            and self._observer.passes_deltas
        )
        return passed

    def _feed_any(self, data: bytes) -> bytes | None:
        if self._is_json is not False and self._collect_json(data):
            return None
        frames = self._splitter.feed(data)
        if not frames:
            self.stream_error = self._splitter.fault
            return None
        sniffer = self._observer
        passed = sniffer.feed_frames(frames)
        return (
            passed if self._held is None and not sniffer.has_news else self._release_frames(passed)
        )

    def end_stream(self) -> bytes | None:
        if self._is_json:
            return self._replay_json(bytes(self._body).lstrip(_BLANKS))
        rest = self._splitter.get_rest()
        # The end of the stream ends the last line, and with it the last frame.
        last = self._observer.feed_frames(rest + b"\n\n") if is_event(rest) else b""
        last += self._observer.end_stream()
        passed = self._release_frames(last) if last else None
        if not (self.is_complete or self.stream_error or self.forwarded_error):
            self.stream_error = UpstreamBroken.from_code("upstream_truncated")
        return passed

    def release_held(self) -> bytes | None:
        held, self._held = self._held, None
        return held or None

    def estimate_usage(self) -> Usage:
        return Usage(
            input_tokens=estimate.input_tokens(len(self.upstream_request.body)),
            output_tokens=self._meter.token_count,
        )

    def _release_frames(self, frames: bytes) -> bytes | None:
        """The frames that the client gets now, of those that the observer passes."""
        sniffer = self._observer
        sniffer.has_news = False
        self.usage, self.stop_reason = sniffer.usage, sniffer.stop_reason
        self.has_content = sniffer.has_content
        self.is_complete = sniffer.is_complete
        if sniffer.fault is not None:
            frames += self._end_with_error(sniffer.fault)
        if self._held is not None:
            frames = self._held + frames
            if not self.has_content and len(frames) < _MAX_HELD:
                self._held = frames
                return None
            self._held = None
        return frames or None

    def _end_with_error(self, fault: UpstreamFault) -> bytes:
        """How the client gets `fault`, which ends the stream: by the upstream's own frame, which is
        returned, where the response has begun and clients understand that wording."""
        if self._uses_gateway_key:
            fault = hide_gateway_key_error(fault)
        words = self._observer.error_frame
        is_held = self._held is not None and not self.has_content
        if is_held or not words or fault.code == UPSTREAM_AUTH:
            self.stream_error = fault
            return b""
        self.forwarded_error = fault
        # The error frame ends the stream: nothing may follow it.
        self.is_complete = True
        return words

    def _collect_json(self, data: bytes) -> bool:
        """Whether `data` belongs to a JSON response, which VAI reads when it is complete."""
        if self._is_json is None and (head := data.lstrip(_BLANKS)):
            self._is_json = head[:1] == b"{"
            if head[:1] == b"<":
                self.stream_error = no_response_fault()
                return True
        if not self._is_json:
            return False
        self._body += data
        if len(self._body) > MAX_FRAME:
            self._body.clear()
            self.stream_error = UpstreamBroken(
                "The provider's response is too large", code="too_large"
            )
        return True

    def _replay_json(self, body: bytes) -> bytes | None:
        """A JSON response, rewritten as a stream."""
        try:
            body, report = read_message(body, self._spec, edited=self._edited, calls=self._calls)
            message = parse_lenient_message(decode_object(body))
        except UpstreamFault as fault:
            self.stream_error = hide_gateway_key_error(fault) if self._uses_gateway_key else fault
            return None
        except (ValueError, InvalidRequest):
            self.stream_error = UpstreamBroken.from_code(
                "upstream_malformed", "it is not the JSON that was expected"
            )
            return None
        if message.stop_reason is None:  # a stream has to report why it ended
            self.stream_error = UpstreamBroken.from_code(
                "upstream_malformed", "it does not say why it ended"
            )
            return None
        self._take_report(report)
        if report.usage.output_tokens is None:
            self._estimate_output(body)
        self.has_content = self.is_complete = True
        return encode_events(events_from_message(message), self._cost if self._edited else None)

    def _estimate_output(self, body: bytes) -> None:
        """Estimate the output of a response whose server did not count it."""
        with suppress(ValueError, InvalidRequest):  # odd blocks: the response passes all the same
            for text in estimate.generated_texts(
                parse_lenient_message(decode_object(body)).content
            ):
                self._meter.add_text(text)

    def _take_report(self, report: VerbatimReport) -> None:
        self.usage, self.stop_reason = report.usage, report.stop_reason


def _estimated_members(meter: estimate.TextMeter) -> dict[str, Any]:
    """Members of the usage for the text so far."""
    return estimate.estimated_usage_members(meter.token_count)
