"""LLM providers in their true wire formats, without a model behind them.

Invariants of this package: a response can be foretold from its request, and every fault a
network or a provider can commit can be requested. Of the gateway it imports
the providers' paths and names alone, so that it can be its judge.
"""

from __future__ import annotations

from vai.simulator.knobs import Knobs
from vai.simulator.server import Simulator

__all__ = ["Knobs", "Simulator"]
