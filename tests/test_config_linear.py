"""Settings are read in a time that grows no faster than they do, whatever they are many of."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from vai.config import ConfigError, load

FEW, TIMES, SLACK = 150, 10, 2.0


def models(count: int) -> str:
    return 'auth.mode = "none"\n' + "".join(
        f'[models."openai/m{number}"]\nname = "M"\nprice.input = 1.0\nprice.output = 2.0\n'
        for number in range(count)
    )


def unknown(count: int) -> str:
    return models(count).replace("price.input", "price.inputs")


def contradictory(count: int) -> str:
    return models(count).replace("openai/", "nobody/")


def keys(count: int) -> str:
    return 'auth.mode = "api_key"\n' + "".join(
        f'[auth.api_keys.user{number}]\nkey = "key-{number}"\n' for number in range(count)
    )


def aliases(count: int) -> str:
    return 'auth.mode = "none"\n[aliases]\n' + "".join(
        f'a{number} = "openai/m{number}"\n' for number in range(count)
    )


def providers(count: int) -> str:
    return 'auth.mode = "none"\n' + "".join(
        f'[providers.p{number}]\nkind = "openai"\nbase_url = "http://p.test"\n'
        for number in range(count)
    )


@pytest.mark.parametrize("make", [models, unknown, contradictory, keys, aliases, providers])
def test_ten_times_the_settings_take_ten_times_as_long(
    tmp_path: Path, make: Callable[[int], str]
) -> None:
    least = min(_cost(tmp_path, make(FEW)) for _ in range(5))
    taken = []
    for _ in range(6):
        taken.append(_cost(tmp_path, make(FEW * TIMES)))
        if taken[-1] <= least * TIMES * SLACK:
            return
    pytest.fail(f"{least * 1e3:.0f} ms -> {min(taken) * 1e3:.0f} ms")


def _cost(folder: Path, text: str) -> float:
    """Seconds of the processor to read these settings beyond those that there always are."""
    return _seconds(folder, text) - min(_seconds(folder, 'auth.mode = "none"\n') for _ in range(3))


def _seconds(folder: Path, text: str) -> float:
    file = folder / "settings.toml"
    file.write_text(text)
    began = time.process_time()
    with suppress(ConfigError):
        load({"VAI_CONFIG": str(file)})
    return time.process_time() - began
