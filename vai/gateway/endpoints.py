"""What this server speaks, told to clients that ask for something else.

OpenAI's paths are asked for by clients that were given this server's address as an
OpenAI-compatible one; a bare 404 leaves their users to guess.
"""

from __future__ import annotations

import re
from typing import Final

from vai.errors import NotFound

__all__ = ["not_found"]

_OPENAIS: Final = re.compile(
    r"/+(?:(?:api|openai|v1)/+)*(?:(?:engines|deployments)/+[^/]+/+)?"
    r"(?:chat/+completions|completions|responses|embeddings|realtime|assistants|threads|audio|"
    r"images|moderations|conversations|fine_tuning|vector_stores|uploads|containers|evals)"
    r"(?:/.*)?",
    re.IGNORECASE,
)
_SERVED: Final = (
    "This server speaks the Messages API: POST /v1/messages, POST /v1/messages/count_tokens, "
    "GET /v1/models"
)


def not_found(path: str) -> NotFound:
    """The answer to a request for a path that is not served."""
    if _OPENAIS.fullmatch(path) is None:
        return NotFound(f"Endpoint not found. {_SERVED}")
    return NotFound(
        f"Endpoint not found: OpenAI's endpoints are not served. {_SERVED}. Use a client of the "
        "Messages API; models of every provider are reached by it",
        code="openai_endpoint",
    )
