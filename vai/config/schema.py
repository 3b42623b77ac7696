"""The settings: one frozen struct per section of `settings.toml`, with the same names.

Invariants: a type states all constraints of one value, so that the structs, the defaults file and
the documentation cannot disagree. `vai.config.rules` has the rules for two values at once. All
durations are seconds.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from vai.policy.breaker import BreakerRules
from vai.policy.capabilities import CAPABILITIES
from vai.policy.retry import RetryRules
from vai.policy.timers import Timers
from vai.secret import Secret
from vai.types.settings import DURATION, YEAR, Duration, SettingsSection

__all__ = [
    "ApiKey",
    "Auth",
    "AuthMode",
    "Cors",
    "Defaults",
    "LimitBudget",
    "LimitSettings",
    "Logging",
    "Manager",
    "Metrics",
    "Model",
    "ModelPrice",
    "Observability",
    "Provider",
    "Redis",
    "Settings",
    "SimulatorSettings",
    "Tls",
    "Tracing",
]

AuthMode = Literal["api_key", "passthrough", "none"]

Count = Annotated[int, msgspec.Meta(ge=0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Url = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(?i:https?)://[^\s/?#]+[^\s?#]*$",
        extra={"expected": "an http:// or https:// URL without query and fragment"},
    ),
]
AuthHeader = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^(bearer|x-api-key|header:[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64})$",
        extra={"expected": "bearer, x-api-key or header:NAME"},
    ),
]
ModelName = Annotated[
    str, msgspec.Meta(pattern=r"^[^/\s]+/\S+$", extra={"expected": "provider/model"})
]
HttpPath = Annotated[
    str, msgspec.Meta(pattern=r"^/[!-~]*$", extra={"expected": "a path that begins with /"})
]
Text = Annotated[str, msgspec.Meta(min_length=1)]
Usd = Annotated[float, msgspec.Meta(ge=0, le=999_999)]
Capability = Annotated[
    str,
    msgspec.Meta(
        pattern=f"^({'|'.join(CAPABILITIES)})$",
        extra={"expected": f"some of {', '.join(CAPABILITIES)}"},
    ),
]


class Tls(SettingsSection, frozen=True, kw_only=True):
    """Serving HTTPS. Files are PEM."""

    enabled: bool = False
    cert_file: Text | None = None
    key_file: Text | None = None


class ApiKey(SettingsSection, frozen=True, kw_only=True):
    """One key that clients may present.

    `tier` names the limits that apply to the key instead of those of all users; `rate_limit`
    (requests per minute) and its siblings replace single ones. A key with limits of its own counts
    by itself, all others count by user. 0 keeps the limit that applies otherwise.
    """

    key: Secret
    name: str = ""
    user_id: str = ""
    tier: str = ""
    rate_limit: Count = 0
    tokens_per_minute: Count = 0
    concurrent_requests: Count = 0
    concurrent_sessions: Count = 0


class Auth(SettingsSection, frozen=True, kw_only=True):
    """Which clients the gateway serves. `passthrough` clients must send BYOK keys."""

    mode: AuthMode = "api_key"
    allowed_hosts: tuple[Text, ...] = ()
    api_keys: tuple[ApiKey, ...] = ()


class Provider(SettingsSection, frozen=True, kw_only=True):
    """How VAI reaches one provider. None leaves a value to the provider's own spec.

    `proxy` is a secret because proxy URLs contain passwords. A provider whose id is not built in
    needs `kind` and `base_url`, and may state its capabilities. `headers` go with every request to
    it; they are secrets because some of them are. `price_as` names a model of the catalogue whose
    prices and capabilities the models of this server have. The last four are for a provider that
    requires a login.
    """

    api_key: Secret | None = None
    name: Text | None = None
    kind: Literal["anthropic", "openai"] | None = None
    base_url: Url | None = None
    auth: AuthHeader | None = None
    headers: dict[str, Secret] = msgspec.field(default_factory=dict)
    price_as: ModelName | None = None
    api_version: Literal["v1beta", "v1"] | None = None
    proxy: Secret | None = None
    ca_file: Text | None = None
    verify_tls: bool = True
    max_connections: Positive = 512
    capabilities: tuple[Text, ...] | None = None
    enabled: bool = False
    client_id: Text | None = None
    client_secret: Secret | None = None
    credentials_file: Text | None = None


class ModelPrice(SettingsSection, frozen=True, kw_only=True):
    """USD per million tokens. `cache_write` is for the provider's shortest lifetime."""

    input: Usd | None = None
    output: Usd | None = None
    cache_read: Usd | None = None
    cache_write: Usd | None = None
    cache_write_1h: Usd | None = None


class Model(SettingsSection, frozen=True, kw_only=True):
    """Changes of one model in the catalogue. None or an empty value changes nothing."""

    name: Text | None = None
    context_window: Positive | None = None
    max_input: Positive | None = None
    max_output: Positive | None = None
    capabilities: tuple[Capability, ...] = ()
    price: ModelPrice = ModelPrice()


class Defaults(SettingsSection, frozen=True, kw_only=True):
    """Values for requests that leave them out. None leaves a value to the provider."""

    max_tokens: Positive = 4096
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | None = None


class LimitBudget(SettingsSection, frozen=True, kw_only=True):
    """What may be used within any minute, and at once. 0 means no limit."""

    requests_per_minute: Count = 0
    tokens_per_minute: Count = 0
    concurrent_requests: Count = 0
    concurrent_sessions: Count = 0


class Redis(SettingsSection, frozen=True, kw_only=True):
    """The Redis server on which several machines count. `url` (redis://, rediss:// with TLS, or
    unix://) is a secret because it contains passwords."""

    url: Secret | None = None
    ca_file: Text | None = None
    prefix: Text = "vai"
    timeout: Duration = 0.25
    lease: Duration = 30.0


class LimitSettings(SettingsSection, frozen=True, kw_only=True, rename={"global_": "global"}):
    """Limits of the whole gateway and of each user. 0 means no limit."""

    enabled: bool = True
    mode: Literal["sliding", "smooth"] = "sliding"
    store: Literal["shared_memory", "redis"] = "shared_memory"
    max_queue_ms: Annotated[int, msgspec.Meta(ge=0, le=600_000)] = 0
    max_callers: Annotated[int, msgspec.Meta(ge=64, le=100_000)] = 8192
    session_idle_timeout: Duration = 300.0
    global_: LimitBudget = LimitBudget(requests_per_minute=1_000_000, concurrent_sessions=1000)
    per_user: LimitBudget = LimitBudget(requests_per_minute=100_000)
    tiers: dict[str, LimitBudget] = msgspec.field(default_factory=dict)
    redis: Redis = Redis()


class Metrics(SettingsSection, frozen=True, kw_only=True):
    """The Prometheus endpoint."""

    enabled: bool = True
    path: HttpPath = "/metrics"


class Logging(SettingsSection, frozen=True, kw_only=True):
    """What VAI writes to standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["json", "text"] = "json"


class Tracing(SettingsSection, frozen=True, kw_only=True):
    """Where VAI sends spans. `endpoint` is host:port."""

    enabled: bool = False
    exporter: Literal["otlp"] = "otlp"
    endpoint: Text = "localhost:4317"


class Observability(SettingsSection, frozen=True, kw_only=True):
    """What VAI reports about itself."""

    metrics: Metrics = Metrics()
    logging: Logging = Logging()
    tracing: Tracing = Tracing()


class Cors(SettingsSection, frozen=True, kw_only=True):
    """Web pages that may send requests from a browser: origins, or `*` for all. Empty: none."""

    allowed_origins: tuple[Text, ...] = ()


class Manager(SettingsSection, frozen=True, kw_only=True):
    """The process that watches the workers."""

    heartbeat: Duration = 0.5
    hung_after: Duration = 15.0


class SimulatorSettings(SettingsSection, frozen=True, kw_only=True):
    """The pace of the built-in simulator. 0 means at once."""

    first_token: Annotated[float, msgspec.Meta(ge=0, le=YEAR, extra=DURATION)] = 0.15
    tokens_per_second: Annotated[float, msgspec.Meta(ge=0, le=1_000_000)] = 50.0


class Settings(SettingsSection, frozen=True, kw_only=True):
    """All settings. They do not change during the life of a process."""

    host: Text = "127.0.0.1"
    port: Port = 8080
    workers: Positive = 2
    max_request_body_bytes: Positive = 33_554_432
    max_request_values: Positive = 250_000
    max_held_request_bytes: Count = 0
    head_timeout: Duration = 20.0
    body_timeout: Duration = 60.0
    keep_alive: Duration = 75.0
    drain_grace: Duration = 30.0
    trusted_proxies: tuple[Text, ...] = ()
    simulate: bool = False
    strict: bool = False
    tls: Tls = Tls()
    auth: Auth = Auth()
    providers: dict[str, Provider] = msgspec.field(default_factory=dict)
    aliases: dict[str, tuple[Text, ...]] = msgspec.field(default_factory=dict)
    models: dict[str, Model] = msgspec.field(default_factory=dict)
    defaults: Defaults = Defaults()
    timers: Timers = Timers()
    retries: RetryRules = RetryRules()
    breaker: BreakerRules = BreakerRules()
    limits: LimitSettings = LimitSettings()
    observability: Observability = Observability()
    cors: Cors = Cors()
    manager: Manager = Manager()
    simulator: SimulatorSettings = SimulatorSettings()
