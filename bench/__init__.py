"""The load suite: what the gateway costs and adds, measured in one run with its references.

The law of this folder: a figure means something only next to another one of the same
run. Every load goes, interleaved, straight to the mock upstream, through nginx as a
plain proxy, through bare Sanic with the gateway's own upstream client, and through the
gateway; what is reported is the ratio or the difference. Nothing here is imported by
the gateway.
"""

from __future__ import annotations

__all__: list[str] = []
