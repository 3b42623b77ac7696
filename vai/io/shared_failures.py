"""The last failure of each provider, shared by the workers of a group.

A request fails in one worker, and the next request for `/health` may reach another worker.
Invariants: the table lies in the control block, in a section of its own, and any worker writes it
without a lock. A reader accepts an entry only if its checksum is right, so two simultaneous writers
cost one entry until the next write. The table holds VAI's own texts and figures, and no text of a
provider.

    bytes 0..7      a digest of the provider's id and base URL
    bytes 8..11     length of the record, 0 for none
    bytes 12..15    its CRC-32
    bytes 16..      the record, MessagePack
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, MutableMapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Final
from zlib import crc32

import msgspec

from vai.io.control_block import ControlBlock, ControlBlockError
from vai.policy.provider_errors import LastError

__all__ = ["FAILURE_SECTIONS", "SharedFailures", "forget_failures"]

_SECTION: Final = 3
_ROW: Final = 256
_ROWS: Final = 256
"""The failures of providers beyond this number stay in the worker that met them."""
_HEAD: Final = struct.Struct("=8sII")
_LENGTH_AT: Final = 2
"""The offset of the length, in units of four bytes."""
FAILURE_SECTIONS: Final[Mapping[int, int]] = MappingProxyType({_SECTION: _ROW * _ROWS})
"""The section that a control block needs for this module: id -> bytes."""


class SharedFailures(MutableMapping[str, LastError]):
    """Provider id -> its last failure, as all workers with the same settings have met it.

    Args:
        control_block: the group's control block.
        base_urls: provider id -> base URL, in the order of the settings.

    Raises:
        ControlBlockError: the control block does not have the section.
    """

    def __init__(self, control_block: ControlBlock, base_urls: Mapping[str, str]) -> None:
        section = control_block.open_section(_SECTION)
        self._bytes = section
        self._words = section.cast("I")
        self._offsets = {
            name: index * _ROW for index, name in enumerate(base_urls) if index < _ROWS
        }
        self._digests = {
            name: blake2b(f"{name} {url}".encode(), digest_size=8).digest()
            for name, url in base_urls.items()
        }
        self._own: dict[str, LastError] = {}

    def __contains__(self, name: object) -> bool:
        offset = self._offsets.get(name) if isinstance(name, str) else None
        if offset is None:
            return name in self._own
        # Called for each response; most entries are empty.
        return (
            self._words[offset // 4 + _LENGTH_AT] != 0 and self._read_error(str(name)) is not None
        )

    def __getitem__(self, name: str) -> LastError:
        error = self._read_error(name) if name in self._offsets else self._own.get(name)
        if error is None:
            raise KeyError(name)
        return error

    def __setitem__(self, name: str, error: LastError) -> None:
        offset = self._offsets.get(name)
        if offset is None:
            self._own[name] = error
            return
        wire = msgspec.msgpack.encode(error)
        if len(wire) > _ROW - _HEAD.size:
            wire = msgspec.msgpack.encode(msgspec.structs.replace(error, code=None))
        record = _HEAD.pack(self._digests[name], len(wire), crc32(wire)) + wire
        self._bytes[offset : offset + len(record)] = record

    def __delitem__(self, name: str) -> None:
        offset = self._offsets.get(name)
        if offset is None:
            del self._own[name]
            return
        self._words[offset // 4 + _LENGTH_AT] = 0

    def __iter__(self) -> Iterator[str]:
        return (name for name in (*self._offsets, *self._own) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _read_error(self, name: str) -> LastError | None:
        offset = self._offsets[name]
        record = bytes(self._bytes[offset : offset + _ROW])
        digest, length, checksum = _HEAD.unpack_from(record)
        wire = record[_HEAD.size : _HEAD.size + length]
        if not length or digest != self._digests[name] or crc32(wire) != checksum:
            return None
        try:
            return msgspec.msgpack.decode(wire, type=LastError)
        except msgspec.DecodeError:
            return None  # another version wrote it


def forget_failures(control_block: ControlBlock) -> None:
    """Drop all failures: the settings have changed, and a failed provider may work now."""
    try:
        section = control_block.open_section(_SECTION)
    except ControlBlockError:
        return  # a group without a gateway has no failures
    section[:] = bytes(len(section))
