"""LLM providers in their true wire formats, without a model.

Invariants: a request alone determines its response, and a client can request every fault of a
network or a provider. The simulator shares no translation with the gateway, so that it can test
it: it imports the providers' paths and names, the reader of picture sizes and `StartWatch`.
"""

from __future__ import annotations

from vai.simulator.knobs import Knobs
from vai.simulator.server import Simulator

__all__ = ["Knobs", "Simulator"]
