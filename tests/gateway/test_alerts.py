"""Lines about providers that fail: one a minute for each subject, with the setting to look at."""

from __future__ import annotations

import pytest

from tests.canary import PROMPT, PROVIDER_KEY
from vai.config.schema import Provider, Settings
from vai.errors import UpstreamFault, UpstreamTimeout, UpstreamUnreachable
from vai.gateway.alerts import ProviderAlerts
from vai.policy.error_attribution import hide_gateway_key_error
from vai.policy.provider_errors import FallbackRun, ProviderErrors
from vai.providers.decode.upstream_errors import fault_from_response
from vai.providers.registry import PROVIDER_SPECS
from vai.secret import Secret

ECHO = b'{"error":{"message":"%b","type":"%b","code":"%b"}}' % (
    (f"{PROMPT} {PROVIDER_KEY}".encode(),) * 3
)


class Rig:
    def __init__(self, caplog: pytest.LogCaptureFixture, **own: Provider) -> None:
        self.now = 100.0
        self.troubles = ProviderErrors()
        self._caplog = caplog
        self.alerts = ProviderAlerts(Settings(providers=own), self.troubles, lambda: self.now)

    def failed(
        self, fault: UpstreamFault, provider: str = "openai", *, own_key: bool = False
    ) -> None:
        target = "/chat/completions?key=hidden"
        self.alerts.record_failure(PROVIDER_SPECS[provider], fault, target, own_key=own_key)

    @property
    def lines(self) -> list[str]:
        return [record.getMessage() for record in self._caplog.records if record.name == "vai"]


def _refused(status: int) -> UpstreamFault:
    return hide_gateway_key_error(fault_from_response("openai", "OpenAI", status, {}, ECHO))


@pytest.mark.parametrize("status", [401, 402, 403, 404, 429, 500, 503, 529])
def test_no_word_of_a_providers_is_repeated(caplog: pytest.LogCaptureFixture, status: int) -> None:
    rig = Rig(caplog, openai=Provider(api_key=Secret(PROVIDER_KEY)))
    rig.failed(_refused(status))
    rig.alerts.breaker_opened(("openai", "m"), _refused(status), 5.0)
    rig.alerts.warn_of_fallback("smart", "openai/m", FallbackRun(90.0, 7), _refused(status))
    for text in (*rig.lines, repr(rig.troubles.last_errors)):
        assert "CANARY" not in text
    assert f"status {status}" in rig.lines[-1]


@pytest.mark.parametrize("times", [10, 10_000])
def test_many_failures_are_one_line(caplog: pytest.LogCaptureFixture, times: int) -> None:
    rig = Rig(caplog, openai=Provider(api_key=Secret("k")))
    for _ in range(times):
        rig.failed(_refused(401))
    (line,) = rig.lines
    assert line == (
        "openai: the provider refused the gateway's key"
        " (api_error, code upstream_auth, status 401); see providers.openai.api_key"
    )


def test_what_is_asked_by_many_names_is_a_bounded_number_of_lines(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(caplog)
    for number in range(5_000):
        rig.alerts.breaker_opened(("openai", f"m{number}"), _refused(500), 5.0)
    assert len(rig.lines) == 257


def test_a_key_that_may_not_do_it_is_told_from_one_that_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(caplog, openai=Provider(api_key=Secret("k")))
    rig.failed(_refused(403))
    assert "refused a request with the gateway's key (permission_error, status 403)" in rig.lines[0]


def test_the_settings_of_the_way_are_those_in_use(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog, openai=Provider(proxy=Secret("http://u:p@proxy.test")))
    rig.failed(UpstreamUnreachable("", code="upstream_proxy"))
    rig.failed(UpstreamUnreachable("", code="upstream_tls"), "groq")
    rig.failed(UpstreamTimeout("", code="connect_timeout"), "groq")
    proxied, tls, slow = rig.lines
    assert "providers.openai.proxy, " in proxied
    assert "u:p" not in proxied
    assert tls.endswith("providers.groq.base_url, providers.groq.ca_file")
    assert slow.endswith("(connect_timeout); see providers.groq.base_url")


def test_the_url_is_told_without_its_query(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog)
    rig.failed(fault_from_response("groq", "Groq", 404, {}, b""), "groq", own_key=True)
    (line,) = rig.lines
    assert (
        f"POST {PROVIDER_SPECS['groq'].base_url}/chat/completions was answered with status 404"
        in line
    )
    assert "hidden" not in line


def test_an_own_404_that_names_no_model_is_a_line_and_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(caplog)
    for message in (b"Not Found", b"Not Found", b"model: x"):
        body = b'{"type":"error","error":{"type":"not_found_error","message":"%b"}}' % message
        rig.failed(fault_from_response("groq", "Groq", 404, {}, body), "groq")
    (line,) = rig.lines
    assert f"POST {PROVIDER_SPECS['groq'].base_url}/chat/completions was answered" in line
    assert line.endswith("the address may be wrong; see providers.groq.base_url")
    assert rig.troubles.last_errors == {}


@pytest.mark.parametrize("status", [400, 401, 402, 403, 413, 429, 500, 529])
def test_what_callers_and_their_keys_meet_with_is_no_trouble(
    caplog: pytest.LogCaptureFixture, status: int
) -> None:
    rig = Rig(caplog)
    rig.failed(fault_from_response("openai", "OpenAI", status, {}, ECHO), own_key=True)
    rig.failed(fault_from_response("openai", "OpenAI", 400, {}, ECHO))
    assert rig.lines == []
    assert rig.troubles.last_errors == {}


def test_the_name_of_a_model_begins_no_line(caplog: pytest.LogCaptureFixture) -> None:
    rig = Rig(caplog)
    name = "m\n2026-01-01 ERROR\u2028forged"
    rig.alerts.breaker_opened(("openai", name), _refused(500), 5.0)
    rig.alerts.breaker_closed(("openai", name))
    rig.alerts.warn_of_fallback("smart", f"openai/{name}", FallbackRun(0.0, 5), None)
    assert len(rig.lines) == 3
    assert all(line.isprintable() for line in rig.lines)
    assert "requested a pause" in rig.lines[2]
