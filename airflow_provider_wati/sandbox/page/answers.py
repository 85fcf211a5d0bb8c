"""What WATI's answers mean, in a few words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from airflow_provider_wati.sandbox.workspace import SeenRequest

_WORDS = {
    200: "Done, unless the body says result: false",
    400: "Refused: JSON with code, message and timestamp",
    401: "The access token is missing or not known: no body",
    403: "The token's scopes or the plan do not cover this: JSON with a message",
    404: "No such thing or no such path: no body",
    405: "The path takes other methods: no body",
    409: "The target fits several open conversations: no body",
    415: "The content type is not JSON: no body",
    429: "Over the rate limit: no body; the call had no effect",
    500: "WATI failed: JSON with a message; the effect is not known",
    502: "No answer from WATI's server; the effect is not known",
    503: "WATI is down for now; the effect is not known",
    504: "WATI took too long; the effect is not known",
}


def answer_in_words(seen: SeenRequest) -> str:
    """Say what the caller got, and for what a fault is to blame."""
    if seen.status is None:
        return "The connection broke before an answer: the caller cannot know the effect"
    words = _WORDS.get(seen.status)
    if words is None:
        words = (
            "The caller is sent elsewhere"
            if 300 <= seen.status < 400
            else "Not an answer that WATI documents"
        )
    return words
