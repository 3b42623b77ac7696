"""``GET /v1/models`` and ``GET /v1/models/{id}``.

The response has the form that `format` names; else Anthropic's where the client sends
``anthropic-version``, as its SDKs do; else VAI's own, which contains OpenAI's list too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Final
from urllib.parse import unquote

from sanic.response import HTTPResponse

from vai.errors import InvalidRequest
from vai.gateway.request.context import RequestContext
from vai.gateway.request.errors import answer_request
from vai.gateway.request.model_pages import ModelPages
from vai.gateway.request.responses import GatewayResponse
from vai.gateway.sanic_patches.request import PatchedRequest
from vai.gateway.service import GatewayService
from vai.io.clock import today

__all__ = ["list_models", "show_model"]

_FORMS: Final = ("vai", "anthropic", "openai")
_MAX_ID: Final = 1024
_PARAMETERS: Final = ("provider", "capability", "format", "limit", "after_id", "before_id")
_MAX_NAME: Final = 32
_NEAR: Final = 0.8
"""The similarity from which an unknown name counts as a misspelt parameter."""


async def list_models(request: PatchedRequest) -> HTTPResponse | None:
    """All models, or those that the query selects."""
    arguments = request.get_args(keep_blank_values=True)
    return await _answer_page(
        request, lambda pages, form: pages.render_list(form, today(), _read_parameters(arguments))
    )


async def show_model(request: PatchedRequest, name: str) -> HTTPResponse | None:
    """One model. Its name may contain slashes, escaped or not."""
    return await _answer_page(
        request, lambda pages, form: pages.render_model(unquote(name)[:_MAX_ID], form, today())
    )


async def _answer_page(
    request: PatchedRequest, render: Callable[[ModelPages, str], bytes]
) -> HTTPResponse | None:
    async def serve(
        service: GatewayService, context: RequestContext, request: PatchedRequest
    ) -> HTTPResponse:
        service.keyring.check_host(request.header_fields)
        service.identify_client(context, request.header_fields)
        body = render(service.models, _choose_form(request))
        context.status = 200
        headers = {
            "x-request-id": context.request_id,
            "request-id": context.request_id,
            "cache-control": "private, max-age=300",
            "vary": "anthropic-version, authorization, x-api-key, x-vai-key",
        }
        return GatewayResponse(body, 200, headers, "application/json")

    return await answer_request(request, serve)


def _read_parameters(arguments: Mapping[str, list[str]]) -> dict[str, str]:
    """The parameters of a list. VAI ignores those of other APIs.

    Raises:
        InvalidRequest: a parameter occurs twice, or a name is similar to that of one.
    """
    parameters: dict[str, str] = {}
    for name, values in arguments.items():
        if name in _PARAMETERS:
            if len(values) > 1:
                raise InvalidRequest(f"{name}: expected this parameter once", param=name)
            parameters[name] = values[0]
        elif near := get_close_matches(name[:_MAX_NAME].lower(), _PARAMETERS, 1, _NEAR):
            raise InvalidRequest(f"{near[0]}: expected this name, not a similar one", param=near[0])
    return parameters


def _choose_form(request: PatchedRequest) -> str:
    form = request.args.get("format")
    if form is None:
        return "anthropic" if "anthropic-version" in request.header_fields else "vai"
    if form not in _FORMS:
        raise InvalidRequest(f"format: expected one of {', '.join(_FORMS)}", param="format")
    return str(form)
