"""The repairs are for known versions of Sanic."""

from __future__ import annotations

import pytest
import sanic
from sanic import Sanic
from sanic.http import Stage, http1
from sanic.server.protocols.http_protocol import HttpProtocol

from vai.gateway import sanic_patches as repairs
from vai.gateway.sanic_patches import stages
from vai.gateway.sanic_patches.protocol import PatchedHttpProtocol, patched_protocol


def test_another_version_is_refused_before_anything_is_patched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sanic, "__version__", "25.12.0")
    app = Sanic("AnotherVersion")
    with pytest.raises(repairs.UnknownSanic, match=r"25\.12\.1, not for 25\.12\.0"):
        repairs.install_patches(app)
    assert not hasattr(app.ctx, "serving")


def test_a_protocol_of_ones_own_is_left_alone() -> None:
    class Own(HttpProtocol):
        pass

    assert patched_protocol(HttpProtocol) is PatchedHttpProtocol
    assert patched_protocol(Own) is Own


def test_sanics_state_machine_has_the_stages_of_the_enum() -> None:
    stages.patch_stages()
    assert vars(http1.Stage) == dict(Stage.__members__)
    assert all(vars(http1.Stage)[stage.name] is stage for stage in Stage)
