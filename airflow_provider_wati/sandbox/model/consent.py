"""
What a customer's message does to consent.

WATI documents this as a rule of the workspace, "Unsubscribe from campaign", which sets the contact's Allow Campaign
(``allow_broadcast``) to false, and one for START that sets it to true. That the rules are on here, and that they take
the whole message in any case, is our choice.
"""

from __future__ import annotations

_CONSENT = {"stop": False, "unsubscribe": False, "start": True}


def consent_after(text: str, before: bool) -> bool:
    """
    Return whether a customer may be sent campaigns after this message.

    :param text: of the message.
    :param before: whether the customer might be until now.
    """
    return _CONSENT.get(text.strip().casefold(), before)
