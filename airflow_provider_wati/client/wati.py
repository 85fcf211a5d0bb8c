"""The client: one method per endpoint of WATI's V3 API, and two of V1 that V3 lacks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, Self, TypeVar

from airflow_provider_wati.client import recipients as template_recipients, responses, validation as checks
from airflow_provider_wati.client.endpoint import Endpoint
from airflow_provider_wati.client.media import Media
from airflow_provider_wati.client.multipart import MultipartUpload
from airflow_provider_wati.client.paging import PAGE_SIZE, iter_pages
from airflow_provider_wati.client.rate_limit import EndpointGroup, Pacer, RateLimit, rate_limits_of
from airflow_provider_wati.client.retry import Safety
from airflow_provider_wati.client.target import CHATBOTS, CONTACTS, CONVERSATIONS, Target
from airflow_provider_wati.client.token import AccessToken, refuse_copies
from airflow_provider_wati.client.transport import Answered, Call, Failed, Outcome, Transport, encode_json
from airflow_provider_wati.client.types import (
    Accepted,
    Ambiguous,
    Campaign,
    CampaignRecipient,
    CampaignsOverview,
    Channel,
    Chatbot,
    Contact,
    Conversation,
    CostEstimate,
    Credits,
    DeletedContact,
    DispatchResult,
    EncodedRecipient,
    Message,
    MessageTemplate,
    NotSent,
    Rejected,
    SendHooks,
    TemplateSendResult,
    Webhook,
)
from airflow_provider_wati.clock import SYSTEM_CLOCK
from airflow_provider_wati.exceptions import (
    WatiBadRequestError,
    WatiCallWithdrawnError,
    WatiConfigurationError,
    WatiNotFoundError,
    WatiRejectedError,
    WatiUnknownOutcomeError,
    WatiValidationError,
)
from airflow_provider_wati.masking import mask_numbers

if TYPE_CHECKING:
    from requests.adapters import BaseAdapter

    from airflow_provider_wati.client.validation import CustomParams
    from airflow_provider_wati.clock import Clock


T = TypeVar("T")

# WATI does not document how it says that a contact is missing: 404, or 400 with words to that effect.
_SAYS_MISSING = re.compile(r"not found|does(n't| not) exist|no (such )?contact|cannot find", re.IGNORECASE)


class WatiClient:
    """
    One WATI account.

    .. code-block:: python

        with WatiClient("https://live-mt-server.wati.io/123456", token) as wati:
            wati.send_text("85264318722", "Your parcel is on its way")

    Targets are given as text or as :class:`~airflow_provider_wati.client.Target`. Every method raises the
    subclass of :class:`~airflow_provider_wati.exceptions.WatiError` that says what is known; a send that may or
    may not have taken effect raises ``WatiUnknownOutcomeError`` and is never repeated by itself.

    The methods that send, start a chatbot or create a contact take ``hooks``, which
    :class:`~airflow_provider_wati.client.types.SendHooks` describes; where these withdraw the call, the methods raise
    ``WatiCallWithdrawnError``.

    :param endpoint: the API endpoint as the WATI dashboard shows it, with or without scheme, tenant, trailing
        slash or ``/api/...``. Plain http is taken for loopback hosts only.
    :param token: the access token, with or without ``Bearer`` before it.
    :param tenant_id: the workspace, where the endpoint does not show it; needed by the two V1 calls.
    :param channel: name or number of the channel to send from, where several are in use.
    :param plan: ``growth``, ``pro`` or ``business``: decides the pace of template sends.
    :param rate_limits: ``{group: (calls, seconds) or None}`` in place of WATI's published limits, for the
        groups ``contacts``, ``conversations``, ``templates``, ``campaigns``, ``other``, and ``*`` for all.
    :param rate_limit_storage: the URL of a Redis or PostgreSQL in which the calls of all hosts are counted together;
        those of this host's user alone if left out.
    :param timeout: seconds to connect and to wait for each piece of an answer, as one number or as a pair.
    :param verify: True or False to check TLS certificates or not, or the path of a CA bundle; each beats the
        environment. None for ``REQUESTS_CA_BUNDLE`` of the environment, else the public CAs.
    :param max_tries: how often one call goes out at the most.
    :param max_seconds: how long one call may take with all its attempts; a ``Retry-After`` beyond it raises at once,
        and an answer that is slower ends with one read timeout more.
    :param clock: where times and pauses come from.
    :param adapter: what carries the requests in place of the network, for tests.
    :raises WatiConfigurationError: when one of these cannot be right.
    """

    def __init__(
        self,
        endpoint: str,
        token: str | AccessToken,
        *,
        tenant_id: str | None = None,
        channel: str | None = None,
        plan: str = "growth",
        rate_limits: Mapping[str, Any] | None = None,
        rate_limit_storage: str | None = None,
        timeout: float | tuple[float, float] = (5.0, 30.0),
        verify: bool | str | None = None,
        max_tries: int = 5,
        max_seconds: float = 120.0,
        clock: Clock = SYSTEM_CLOCK,
        adapter: BaseAdapter | None = None,
    ) -> None:
        self.endpoint: Endpoint = Endpoint.parse(endpoint, tenant_id)
        self.channel: str | None = channel.strip() or None if channel is not None else None
        if self.channel:
            checks.whole_text(self.channel, "channel")
        connect, read = (timeout, timeout) if isinstance(timeout, (int, float)) else timeout
        if not (0 < connect < float("inf") and 0 < read < float("inf")):
            raise WatiConfigurationError(
                f"timeout is {timeout!r}: give seconds, or [connect, read], above 0."
            )
        #: Seconds to connect, and to wait for each piece of an answer.
        self.timeout: tuple[float, float] = (float(connect), float(read))
        #: The pace of each group of endpoints.
        self.rate_limits: dict[EndpointGroup, RateLimit] = rate_limits_of(plan, rate_limits)
        self._transport = Transport(
            self.endpoint,
            AccessToken.of(token),
            pacer=Pacer(self.endpoint, self.rate_limits, clock, rate_limit_storage),
            timeout=self.timeout,
            verify=verify,
            max_tries=max_tries,
            max_seconds=max_seconds,
            clock=clock,
            adapter=adapter,
        )

    __getstate__ = refuse_copies

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; the client can still be used and opens new ones."""
        self._transport.close()

    @property
    def server_clock_offset(self) -> timedelta | None:
        """
        How far WATI's clock is ahead of ours, by the ``Date`` of its last answer that had one; None before.

        A header has whole seconds, and an answer takes time to arrive, so a second or two mean nothing.
        """
        return self._transport.server_clock_offset

    # Contacts

    def create_contact(
        self,
        phone_number: str,
        name: str,
        custom_params: CustomParams | None = None,
        *,
        hooks: SendHooks | None = None,
    ) -> Contact:
        """
        Create a contact. What WATI does with a number that it knows is not documented: compare the result.

        :param phone_number: 7 to 15 digits, country code first.
        :param name: what the contact is called; WATI has no way to change it later.
        :param custom_params: attributes, as a dict of texts or as WATI's list; consent is refused.
        :param hooks: what to do around each attempt.
        :return: the contact as WATI stores it.
        :raises WatiValidationError: for an argument that cannot be right; nothing was sent.
        :raises WatiUnknownOutcomeError: when no answer says whether the contact was created.
        """
        body: dict[str, Any] = {
            "whatsapp_number": Target.phone(phone_number).value,
            "name": checks.text(name, "name"),
        }
        if custom_params:
            body["custom_params"] = checks.contact_attributes(custom_params, "create_contact")
        return self._v3(
            "POST",
            "contacts",
            EndpointGroup.CONTACTS,
            Safety.NON_IDEMPOTENT,
            responses.read_created_contact,
            body=body,
            hooks=hooks,
        )

    def get_contact(self, target: str | Target) -> Contact:
        """
        Look up one contact.

        :param target: phone number, contact id or BSUID, with or without a channel.
        :raises WatiNotFoundError: when WATI does not know the contact.
        """
        about = CONTACTS.check(target)
        try:
            return self._v3(
                "GET",
                "contacts/{target}",
                EndpointGroup.CONTACTS,
                Safety.READ,
                responses.read_with_id(Contact),
                target=about,
            )
        except WatiBadRequestError as error:
            if not _SAYS_MISSING.search(error.wati_message or ""):
                raise
            raise WatiNotFoundError(str(error), status_code=400, wati_message=error.wati_message) from None

    def update_contacts(
        self, contacts: Sequence[Mapping[str, Any]], *, safety: Safety = Safety.IDEMPOTENT
    ) -> list[Contact]:
        """
        Set attributes of contacts. Attributes that are not named keep their values as far as is known.

        :param contacts: dicts with ``target`` and ``custom_params`` (a dict, or WATI's list); WATI states no
            limit, and 100 at a time are known to work. Consent is refused.
        :param safety: ``NON_IDEMPOTENT`` for a call that is not repeated after a failure without a usable answer, which
            then raises ``WatiUnknownOutcomeError``.
        :return: the contacts that WATI updated, which may be fewer or, as WATI names them, others: compare them.
        :raises WatiValidationError: for a target or attribute that cannot be right; nothing was sent.
        :raises WatiRejectedError: when WATI answers that it updated none.
        """
        if isinstance(contacts, str) or not isinstance(contacts, Sequence) or not contacts:
            raise WatiValidationError(
                "contacts is a list of {'target': ..., 'custom_params': ...}, one at least."
            )
        body = {"contacts": [_update_of(contact, f"Contact {n}") for n, contact in enumerate(contacts, 1)]}
        return self._v3(
            "PUT",
            "contacts",
            EndpointGroup.CONTACTS,
            safety,
            responses.read_updated_contacts,
            body=body,
        )

    def delete_contact(self, target: str | Target) -> DeletedContact:
        """
        Delete a contact the way the dashboard does, which keeps its history and is not an erasure by law.

        :param target: phone number, contact id or BSUID, with or without a channel.
        :return: what is left of the contact.
        :raises WatiNotFoundError: when WATI does not know the contact.
        :raises WatiRejectedError: when WATI answers that it did not delete it.
        """
        about = CONTACTS.check(target)
        return self._v3(
            "DELETE",
            "contacts/{target}",
            EndpointGroup.CONTACTS,
            Safety.IDEMPOTENT,
            responses.read_deleted_contact,
            target=about,
        )

    def iter_contacts(self) -> Iterator[Contact]:
        """Go through all contacts; WATI has no filter."""
        return self._pages("contacts", "contact_list", EndpointGroup.CONTACTS)

    def count_contacts(self, date_from: str | None = None, date_to: str | None = None) -> int:
        """
        Count contacts.

        :param date_from: first date, in a form that WATI does not document.
        :param date_to: last date, likewise.
        """
        dates = {"date_from": date_from, "date_to": date_to}
        return self._v3(
            "GET",
            "contacts/count",
            EndpointGroup.CONTACTS,
            Safety.READ,
            responses.read_count,
            params={name: text for name, date in dates.items() if (text := checks.optional_text(date, name))},
        )

    def assign_teams(self, target: str | Target, teams: Sequence[str]) -> None:
        """
        Assign a contact to teams.

        :param target: phone number, contact id or BSUID, with or without a channel.
        :param teams: the names of the teams. Whether they replace or join the present ones is not documented.
        :raises WatiRejectedError: when WATI answers that it did not do it.
        """
        if not (names := checks.texts(teams, "teams", "team name")):
            raise WatiValidationError("teams is a list of team names, and one is needed at least.")
        about = CONTACTS.check(target)
        body = {"target": str(about), "teams": names}
        self._v3(
            "PUT",
            "contacts/teams",
            EndpointGroup.CONTACTS,
            Safety.IDEMPOTENT,
            responses.read_done,
            body=body,
            about=about,
        )

    # Conversations and messages

    def iter_conversations(
        self, channel_type: str | None = None, channel_id: str | None = None
    ) -> Iterator[Conversation]:
        """
        Go through the conversations that the token may see, newest first.

        :param channel_type: ``whatsapp``, ``whatsapp_group``, ``instagram``, ``messenger``, ``tiktok``,
            ``webchat`` or ``rcs``.
        :param channel_id: the id of a channel.
        """
        only = {"channel_type": channel_type, "channel_id": channel_id}
        return self._pages("conversations", "conversation_list", EndpointGroup.CONVERSATIONS, params=only)

    def iter_messages(self, target: str | Target) -> Iterator[Message]:
        """
        Go through what was said in a conversation. The order is not documented.

        :param target: conversation id, phone number or BSUID; a person stands for their newest open conversation.
        """
        return self._pages(
            "conversations/{target}/messages",
            "message_list",
            EndpointGroup.CONVERSATIONS,
            target=self._conversation(target),
        )

    def send_text(self, target: str | Target, text: str, *, hooks: SendHooks | None = None) -> Message:
        """
        Send a text into an open conversation (the customer wrote within 24 hours).

        :param target: conversation id, phone number or BSUID, the latter two with or without a channel.
        :param text: 1 to 4,096 characters (V1's documented limit; V3 states none).
        :param hooks: what to do around each attempt.
        :return: the message; WATI has taken it, which is not to say that it arrived.
        :raises WatiValidationError: for an argument that cannot be right; nothing was sent.
        :raises WatiRejectedError: when WATI answers that it did not send it.
        :raises WatiUnknownOutcomeError: when no answer says whether it was sent.
        """
        about = self._conversation(target)
        body = {"target": str(about), "text": checks.text(text, "text", checks.MAX_TEXT)}
        return self._message("conversations/messages/text", about, hooks, body=body)

    def send_file_url(
        self,
        target: str | Target,
        file_url: str,
        caption: str | None = None,
        *,
        hooks: SendHooks | None = None,
    ) -> Message:
        """
        Send a file that WATI fetches itself; result and errors are those of :meth:`send_text`.

        :param target: as for :meth:`send_text`.
        :param file_url: an address that WATI can reach without a password.
        :param caption: text under the file.
        :param hooks: what to do around each attempt.
        """
        about = self._conversation(target)
        if not re.match(r"https?://[^/\s]+", checks.text(file_url, "file_url")):
            raise WatiValidationError(
                "file_url starts with https:// (or http://): WATI fetches the file from there."
            )
        body = {"target": str(about), "file_url": file_url}
        if caption := checks.optional_text(caption, "caption"):
            body["caption"] = caption
        return self._message("conversations/messages/fileViaUrl", about, hooks, body=body)

    def send_file(
        self,
        target: str | Target,
        file: BinaryIO,
        *,
        file_name: str,
        mime_type: str,
        caption: str | None = None,
        hooks: SendHooks | None = None,
    ) -> Message:
        """
        Upload and send a file, which is read while it is sent; result and errors are those of :meth:`send_text`.

        :param target: as for :meth:`send_text`.
        :param file: open in binary mode, seekable.
        :param file_name: the name the receiver sees.
        :param mime_type: such as ``image/png``; WATI decides by it how the file is shown, and how large it may be.
        :param caption: text under the file.
        :param hooks: what to do around each attempt.
        """
        about = self._conversation(target)
        fields = {"target": checks.whole_text(str(about), "The target")}
        if caption := checks.optional_text(caption, "caption"):
            fields["caption"] = caption
        checks.file_name(file_name)
        checks.mime_type(mime_type)
        start, size = _extent_of(file, file_name)
        checks.file_size(size, mime_type, file_name)

        def upload() -> MultipartUpload:
            file.seek(start)
            return MultipartUpload(fields, file, file_name, mime_type)

        return self._message("conversations/messages/file", about, hooks, upload=upload)

    @contextmanager
    def get_media(self, message_id: str) -> Iterator[Media]:
        """
        Open the file of a message, to be read piece by piece.

        .. code-block:: python

            with wati.get_media(message_id) as media, open("photo.jpg", "wb") as out:
                for piece in media.iter_bytes():
                    out.write(piece)

        :param message_id: WATI's id of the message, not the ``wamid`` of WhatsApp.
        """
        path = f"conversations/messages/file/{checks.path_segment(message_id, 'message_id')}"
        call = Call(
            method="GET",
            url=self.endpoint.v3(path),
            shown=f"/{path}",
            group=EndpointGroup.CONVERSATIONS,
            safety=Safety.READ,
            accept="*/*",
        )
        with self._transport.stream(call) as response:
            yield Media(response)

    def send_buttons(
        self,
        target: str | Target,
        body: str,
        buttons: Sequence[str | Mapping[str, str]],
        header: str | Mapping[str, Any] | None = None,
        footer: str | None = None,
        *,
        hooks: SendHooks | None = None,
    ) -> Message:
        """
        Send a text with buttons to answer by; result and errors are those of :meth:`send_text`.

        :param target: as for :meth:`send_text`.
        :param body: up to 1,024 characters.
        :param buttons: 1 to 3 texts of up to 20 characters, each bare or as WATI's ``{"text": ...}``; the answer
            carries the text, WATI has no ids.
        :param header: text of up to 60 characters, or WATI's ``{"type": "image", "media": {"url": ...}}``.
        :param footer: up to 60 characters.
        :param hooks: what to do around each attempt.
        """
        about = self._conversation(target)
        message = checks.buttons_message(body, buttons, header, footer)
        return self._message(
            "conversations/messages/interactive",
            about,
            hooks,
            body={"target": str(about), "type": "buttons", "button_message": message},
        )

    def send_list(
        self,
        target: str | Target,
        body: str,
        button_text: str,
        sections: Sequence[Mapping[str, Any]],
        header: str | None = None,
        footer: str | None = None,
        *,
        hooks: SendHooks | None = None,
    ) -> Message:
        """
        Send a text with a list to choose from; result and errors are those of :meth:`send_text`.

        :param target: as for :meth:`send_text`.
        :param body: up to 1,024 characters.
        :param button_text: what opens the list, up to 20 characters.
        :param sections: ``{"title": ..., "rows": [{"title": ..., "description": ...}]}``: titles up to 24
            characters, descriptions up to 72, 10 rows in all.
        :param header: up to 60 characters.
        :param footer: up to 60 characters.
        :param hooks: what to do around each attempt.
        """
        about = self._conversation(target)
        message = checks.list_message(body, button_text, sections, header, footer)
        return self._message(
            "conversations/messages/interactive",
            about,
            hooks,
            body={"target": str(about), "type": "list", "list_message": message},
        )

    def assign_operator(self, target: str | Target, assignee_email: str | None) -> None:
        """
        Hand a conversation to an operator.

        :param target: conversation id, phone number or BSUID.
        :param assignee_email: who takes over; None gives the conversation to the bot.
        :raises WatiRejectedError: when WATI answers that it did not do it.
        """
        if assignee_email is not None:
            checks.text(assignee_email, "assignee_email")
        self._set(target, "PUT", "operator", {"assignee_email": assignee_email}, responses.read_done)

    def update_conversation_status(self, target: str | Target, status: str) -> None:
        """
        Set the status of a conversation.

        :param target: conversation id, phone number or BSUID.
        :param status: ``open``, ``solved``, ``pending`` or ``block``.
        :raises WatiRejectedError: when WATI answers that it did not do it.
        """
        if status not in checks.CONVERSATION_STATUSES:
            raise WatiValidationError(
                f"status is one of {', '.join(checks.CONVERSATION_STATUSES)}, not {checks.shown(status)}."
            )
        self._set(target, "PUT", "status", {"new_status": status}, responses.read_done)

    def add_tag(self, target: str | Target, tag: str) -> None:
        """
        Put a tag on a conversation; having it already is fine.

        :param target: conversation id, phone number or BSUID, the latter two with or without a channel.
        :param tag: the name of a tag that exists in WATI.
        :raises WatiNotFoundError: when WATI has no such tag.
        :raises WatiRejectedError: when WATI answers that it did not do it.
        """
        self._set(target, "POST", "tags", {"tag_name": checks.text(tag, "tag")}, responses.read_not_refused)

    def remove_tag(self, target: str | Target, tag: str) -> None:
        """
        Take a tag off a conversation.

        :param target: conversation id, phone number or BSUID, the latter two with or without a channel.
        :param tag: the name of the tag.
        :raises WatiRejectedError: when WATI answers that it did not do it.
        """
        self._set(
            target, "DELETE", f"tags/{checks.path_segment(tag, 'tag')}", None, responses.read_not_refused
        )

    # Templates

    def iter_templates(self, channel: str | None = None) -> Iterator[MessageTemplate]:
        """
        Go through the templates of a channel.

        :param channel: name or number; the client's channel, else WATI's default, if left out.
        """
        return self._pages(
            "messageTemplates",
            "templates",
            EndpointGroup.TEMPLATES,
            params={"channel": channel or self.channel},
            total="total",
        )

    def get_template(self, template_id: str) -> MessageTemplate:
        """
        Look up one template.

        :param template_id: its id, 24 hexadecimal characters.
        :raises WatiNotFoundError: when WATI does not know the template.
        """
        path = f"messageTemplates/{checks.path_segment(template_id, 'template_id')}"
        return self._v3(
            "GET", path, EndpointGroup.TEMPLATES, Safety.READ, responses.read_with_id(MessageTemplate)
        )

    def dispatch_template(
        self,
        template_name: str,
        campaign_name: str,
        recipients: Sequence[EncodedRecipient],
        *,
        channel: str | None = None,
        scheduled_at: datetime | None = None,
        hooks: SendHooks | None = None,
    ) -> DispatchResult:
        """
        Send or schedule an approved template in one call, and return what became of it.

        WATI recognises no repetition: the same call twice messages everybody twice.

        :param template_name: the exact name of the template.
        :param campaign_name: what the campaign is called; several may have the same name.
        :param recipients: 1 to 10,000 of what :func:`.encode_recipient` makes.
        :param channel: name or number to send from; the client's channel, else WATI's default, if left out.
        :param scheduled_at: when WATI is to send it, with a time zone; None for now.
        :param hooks: what to do around each attempt.
        :return: ``Accepted``, ``Rejected``, ``Ambiguous`` or ``NotSent``.
        :raises WatiValidationError: for an argument that cannot be right; nothing was sent.
        """
        later = None if scheduled_at is None else checks.utc_time(scheduled_at, "scheduled_at")
        path = "messageTemplates/send" if later is None else "messageTemplates/schedule"
        call = Call(
            method="POST",
            url=self.endpoint.v3(path),
            shown=f"/{path}",
            group=EndpointGroup.TEMPLATES,
            safety=Safety.NON_IDEMPOTENT,
            content=template_recipients.template_body(
                template_name, campaign_name, recipients, channel or self.channel, later
            ),
        )

        def read(answer: Any) -> Accepted:
            return template_recipients.read_template_answer(template_name, recipients, answer)

        return _dispatch_result(self._transport.outcome(call, read, hooks))

    def send_template_messages(
        self,
        template_name: str,
        campaign_name: str,
        recipients: Sequence[Mapping[str, Any]],
        channel: str | None = None,
        *,
        hooks: SendHooks | None = None,
    ) -> TemplateSendResult:
        """
        Send an approved template to up to 10,000 people in one call.

        WATI recognises no repetition: the same call twice messages everybody twice.

        :param template_name: the exact name of the template.
        :param campaign_name: what the campaign is called; several may have the same name.
        :param recipients: dicts with ``target`` or ``phone_number``, ``params`` (a dict of texts) or
            ``custom_params`` (a dict, or WATI's list), and maybe ``local_message_id`` (10 to 64 characters, or
            it cannot be looked up later).
        :param channel: name or number to send from; the client's channel, else WATI's default, if left out.
        :param hooks: what to do around each attempt.
        :return: the campaign's id and what WATI said about each recipient, in the order asked.
        :raises WatiValidationError: for an argument that cannot be right; nothing was sent.
        :raises WatiRejectedError: when WATI refuses the whole call.
        :raises WatiUnknownOutcomeError: when no answer says whether the messages went out.
        """
        encoded = template_recipients.encode_recipients(recipients)
        result = self.dispatch_template(template_name, campaign_name, encoded, channel=channel, hooks=hooks)
        return template_recipients.to_result(encoded, _accepted_or_raise(result))

    def schedule_template_messages(
        self,
        template_name: str,
        campaign_name: str,
        recipients: Sequence[Mapping[str, Any]],
        scheduled_at: datetime,
        channel: str | None = None,
        *,
        hooks: SendHooks | None = None,
    ) -> TemplateSendResult:
        """
        Let WATI send a template later; everything else is as for :meth:`send_template_messages`.

        :param scheduled_at: when, with a time zone.
        """
        encoded = template_recipients.encode_recipients(recipients)
        # Checked here too: None would send at once.
        checks.utc_time(scheduled_at, "scheduled_at")
        result = self.dispatch_template(
            template_name, campaign_name, encoded, channel=channel, scheduled_at=scheduled_at, hooks=hooks
        )
        return template_recipients.to_result(encoded, _accepted_or_raise(result))

    def cancel_scheduled_campaign(self, campaign_id: str) -> bool:
        """
        Cancel a campaign that is scheduled (V1: V3 has no such call).

        :param campaign_id: the id of the campaign.
        :return: True if WATI says that it did it; False if its answer does not say, so that the status of the
            campaign has to be read.
        :raises WatiConfigurationError: when the tenant is not known.
        :raises WatiRejectedError: when WATI answers that it did not do it.
        """
        return self._v1(
            "DELETE",
            f"broadcast/deleteScheduledBroadcast/{checks.path_segment(campaign_id, 'campaign_id')}",
            EndpointGroup.CAMPAIGNS,
            Safety.IDEMPOTENT,
            responses.read_if_done,
        )

    # Campaigns

    def iter_campaigns(self, channel: str | None = None, *, is_default: bool = False) -> Iterator[Campaign]:
        """
        Go through the campaigns of a channel.

        :param channel: name or number; the client's channel, else WATI's default, if left out.
        :param is_default: whether WATI's default channel is meant, also where the client has another one.
        """
        return self._pages(
            "broadcasts",
            "broadcasts",
            EndpointGroup.CAMPAIGNS,
            params={"channel": None if is_default else channel or self.channel},
            total="total",
        )

    def get_campaign(self, campaign_id: str) -> Campaign:
        """
        Look up one campaign, with its statistics.

        :param campaign_id: its id.
        :raises WatiNotFoundError: when WATI does not know the campaign.
        """
        path = f"broadcasts/{checks.path_segment(campaign_id, 'campaign_id')}"
        return self._v3("GET", path, EndpointGroup.CAMPAIGNS, Safety.READ, responses.read_with_id(Campaign))

    def iter_campaign_recipients(self, campaign_id: str) -> Iterator[CampaignRecipient]:
        """
        Go through what became of each recipient of a campaign, 100 a call.

        :param campaign_id: its id.
        :return: the recipients; a list without end is a :class:`WatiResponseError`.
        """
        path = f"broadcasts/{checks.path_segment(campaign_id, 'campaign_id')}/recipients"
        return self._pages(
            path,
            "recipients",
            EndpointGroup.CAMPAIGNS,
            total="total_count",
        )

    def get_campaigns_overview(
        self, date_from: datetime, date_to: datetime, channel: str | None = None
    ) -> CampaignsOverview:
        """
        Add up the campaigns of a channel between two times.

        :param date_from: from when, with a time zone.
        :param date_to: until when, with a time zone.
        :param channel: name or number; the client's channel, else WATI's default, if left out.
        """
        params = {
            "date_from": checks.utc_time(date_from, "date_from"),
            "date_to": checks.utc_time(date_to, "date_to"),
        }
        if named := checks.optional_text(channel or self.channel, "channel"):
            params["channel"] = named
        return self._v3(
            "GET",
            "broadcasts/overview",
            EndpointGroup.CAMPAIGNS,
            Safety.READ,
            responses.read_object(CampaignsOverview),
            params=params,
        )

    def estimate_campaign_cost(self, template_id: str, contact_ids: Sequence[str]) -> CostEstimate:
        """
        Ask what a send would cost; nothing is sent.

        :param template_id: the id of the template.
        :param contact_ids: WATI's contact ids, one at least.
        :raises WatiRejectedError: when WATI cannot estimate it.
        """
        if not (ids := checks.texts(contact_ids, "contact_ids", "contact id")):
            raise WatiValidationError(
                "contact_ids is a list of WATI's contact ids, and one is needed at least."
            )
        body = {"template_id": checks.text(template_id, "template_id"), "contact_ids": ids}
        return self._v3(
            "POST",
            "broadcasts/estimate-cost",
            EndpointGroup.CAMPAIGNS,
            Safety.READ,
            responses.read_estimate,
            body=body,
        )

    # Account

    def iter_channels(self) -> Iterator[Channel]:
        """Go through the channels; the name ``Default`` that WATI may show cannot be sent from."""
        return self._pages("channels", "channels", EndpointGroup.OTHER)

    def iter_chatbots(self) -> Iterator[Chatbot]:
        """Go through the chatbots (plan Pro and above)."""
        return self._pages("chatbots", "chatbot_list", EndpointGroup.OTHER)

    def start_chatbot(self, target: str | Target, chatbot_id: str, *, hooks: SendHooks | None = None) -> None:
        """
        Start a chatbot with somebody (plan Pro and above). Nothing tells afterwards whether it started.

        :param target: phone number or contact id, with or without a channel.
        :param chatbot_id: the id of the chatbot.
        :param hooks: what to do around each attempt.
        :raises WatiRejectedError: when WATI answers that it did not do it.
        :raises WatiUnknownOutcomeError: when no answer says whether it started.
        """
        about = CHATBOTS.check(target).on_channel(self.channel)
        body = {"target": str(about), "chatbot_id": checks.text(chatbot_id, "chatbot_id")}
        self._v3(
            "POST",
            "chatbots/start",
            EndpointGroup.OTHER,
            Safety.NON_IDEMPOTENT,
            responses.read_done,
            body=body,
            about=about,
            hooks=hooks,
        )

    def get_credits(self) -> Credits:
        """Look up the balance of the account; the cheapest call that needs a token."""
        return self._v3(
            "GET", "account/credits", EndpointGroup.OTHER, Safety.READ, responses.read_object(Credits)
        )

    def get_webhook_event_types(self) -> Any:
        """Look up the events that a webhook can have. WATI does not document the shape."""
        return self._v3(
            "GET", "webhooks/event-types", EndpointGroup.OTHER, Safety.READ, responses.read_anything
        )

    def get_webhooks(self) -> Any:
        """Look up the webhooks (some plans answer 403). WATI does not document the shape."""
        return self._v3("GET", "webhooks", EndpointGroup.OTHER, Safety.READ, responses.read_anything)

    def list_webhooks(self) -> list[Webhook]:
        """
        List the webhooks.

        :raises WatiPermissionError: on plans whose API has no webhooks.
        """
        return self._v3("GET", "webhooks", EndpointGroup.OTHER, Safety.READ, responses.read_webhooks)

    def create_webhook(
        self, url: str, event_types: Sequence[str], channel_phone_number: str | None = None
    ) -> Webhook:
        """
        Create a webhook (V2: V3 has no such call); it is enabled.

        :param url: where WATI posts events. WATI refuses one that another webhook has.
        :param event_types: names that :meth:`get_webhook_event_types` gives.
        :param channel_phone_number: the number of the channel whose events it gets, in digits; left out, WATI chooses.
        :return: the new webhook.
        :raises WatiRejectedError: when WATI answers ``ok: false``, as for a URL that exists.
        :raises WatiUnknownOutcomeError: when it is not known whether it was created: look at :meth:`list_webhooks`.
        :raises WatiConfigurationError: when the tenant is not known.
        """
        item: dict[str, Any] = {
            "url": checks.text(url, "url"),
            "eventTypes": checks.texts(event_types, "event_types", "event type"),
            "status": 1,
        }
        if channel_phone_number is not None:
            item["phoneNumber"] = checks.text(channel_phone_number, "channel_phone_number")
        call = Call(
            method="POST",
            url=self.endpoint.v2("webhookEndpoints"),
            shown="/webhookEndpoints",
            group=EndpointGroup.OTHER,
            safety=Safety.NON_IDEMPOTENT,
            content=encode_json([item]),
        )
        return self._transport.call(call, responses.read_created_webhook)

    def update_webhook(
        self, webhook_id: str, url: str, event_types: Sequence[str], *, enabled: bool = True
    ) -> Any:
        """
        Change a webhook.

        :param webhook_id: its id.
        :param url: where WATI posts events.
        :param event_types: names that :meth:`get_webhook_event_types` gives.
        :param enabled: whether it is on.
        """
        body = {
            "url": checks.text(url, "url"),
            "eventTypes": checks.texts(event_types, "event_types", "event type"),
            "status": "Enabled" if enabled else "Disabled",
        }
        path = f"webhooks/{checks.path_segment(webhook_id, 'webhook_id')}"
        return self._v3(
            "PUT", path, EndpointGroup.OTHER, Safety.IDEMPOTENT, responses.read_not_refused, body=body
        )

    def get_message_by_local_id(
        self, local_message_id: str, channel_number: str | None = None
    ) -> dict[str, Any]:
        """
        Look up one message by the id that it was sent with (V1: V3 has no such call).

        :param local_message_id: 10 to 64 characters; WATI looks up no others.
        :param channel_number: the number it was sent from, in digits; the client's channel if that is a number.
        :return: V1's record, with ``statusString`` in capitals and, after a failure, ``failedDetail``.
        :raises WatiConfigurationError: when the tenant is not known.
        """
        if not 10 <= len(checks.text(local_message_id, "local_message_id")) <= 64:
            raise WatiValidationError(
                f"local_message_id has {len(local_message_id)} characters; WATI looks up 10 to 64 only."
            )
        number = channel_number or self.channel
        if number is None:
            raise WatiValidationError(
                "channel_number is needed: WATI looks messages up by the number they came from."
            )
        segment = checks.path_segment(local_message_id, "local_message_id")
        path = f"whatsApp/messages/{Target.phone(number).value}/{segment}"
        shown = f"/whatsApp/messages/{{channel}}/{mask_numbers(local_message_id)}"
        return self._v1(
            "GET",
            path,
            EndpointGroup.CONVERSATIONS,
            Safety.READ,
            responses.read_object(dict[str, Any]),
            shown=shown,
        )

    # How calls are made

    def _conversation(self, target: str | Target) -> Target:
        return CONVERSATIONS.check(target).on_channel(self.channel)

    def _set(
        self,
        target: str | Target,
        method: str,
        what: str,
        body: dict[str, Any] | None,
        read: Callable[[Any], Any],
    ) -> None:
        path = f"conversations/{{target}}/{what}"
        about = self._conversation(target)
        self._v3(method, path, EndpointGroup.CONVERSATIONS, Safety.IDEMPOTENT, read, body=body, target=about)

    def _message(self, path: str, about: Target, hooks: SendHooks | None, **sent: Any) -> Message:
        return self._v3(
            "POST",
            path,
            EndpointGroup.CONVERSATIONS,
            Safety.NON_IDEMPOTENT,
            responses.read_message,
            about=about,
            hooks=hooks,
            **sent,
        )

    def _v3(
        self,
        method: str,
        path: str,
        group: EndpointGroup,
        safety: Safety,
        read: Callable[[Any], T],
        *,
        target: Target | None = None,
        about: Target | None = None,
        params: Mapping[str, str | int] | None = None,
        body: object = None,
        upload: Callable[[], MultipartUpload] | None = None,
        hooks: SendHooks | None = None,
    ) -> T:
        about = target or about
        for name, value in (params or {}).items():
            checks.whole_text(str(value), name)
        call = Call(
            method=method,
            url=self.endpoint.v3(path.replace("{target}", checks.path_segment(str(target), "The target"))),
            shown=f"/{path}" + (f" ({about.masked})" if about else ""),
            group=group,
            safety=safety,
            params=params,
            content=None if body is None else encode_json(body),
            upload=upload,
        )
        return self._transport.call(call, read, hooks)

    def _v1(
        self,
        method: str,
        path: str,
        group: EndpointGroup,
        safety: Safety,
        read: Callable[[Any], T],
        shown: str | None = None,
    ) -> T:
        url = self.endpoint.v1(path)
        call = Call(method=method, url=url, shown=shown or f"/{path}", group=group, safety=safety)
        return self._transport.call(call, read)

    def _pages(
        self,
        path: str,
        key: str,
        group: EndpointGroup,
        *,
        target: Target | None = None,
        params: Mapping[str, str | None] | None = None,
        total: str | None = None,
    ) -> Iterator[Any]:
        only = {
            name: text
            for name, value in (params or {}).items()
            if (text := checks.optional_text(value, name))
        }

        def fetch(page_number: int) -> dict[str, Any]:
            page: dict[str, str | int] = {**only, "page_number": page_number, "page_size": PAGE_SIZE}
            return self._v3(
                "GET", path, group, Safety.READ, responses.read_page(key), target=target, params=page
            )

        return iter_pages(fetch, key, f"/{path}", total=total)


def _dispatch_result(outcome: Outcome[Accepted]) -> DispatchResult:
    """Turn the outcome of a template call into what its caller decides by."""
    if isinstance(outcome, Answered):
        return outcome.value
    if not isinstance(outcome, Failed):
        return NotSent(None)
    if isinstance(outcome.error, WatiUnknownOutcomeError):
        return Ambiguous(outcome.error)
    if isinstance(outcome.error, (WatiBadRequestError, WatiRejectedError)):
        return Rejected(outcome.error)
    return NotSent(outcome.error)


def _accepted_or_raise(result: DispatchResult) -> Accepted:
    if isinstance(result, Accepted):
        return result
    if result.error is None:
        raise WatiCallWithdrawnError("The template call was withdrawn before it left: nothing was sent.")
    raise result.error


def _extent_of(file: BinaryIO, file_name: str) -> tuple[int, int]:
    """Return where a file stands, and how many bytes it has from there on."""
    try:
        start = file.tell()
        size = file.seek(0, 2) - start
        file.seek(start)
        is_binary = isinstance(file.read(0), bytes)
    except (AttributeError, TypeError, OSError, ValueError):
        is_binary = False
    if not is_binary:
        raise WatiValidationError(f"The file for {file_name!r} has to be open in binary mode, and seekable.")
    return start, size


def _update_of(contact: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(contact, Mapping) or not contact.keys() <= {"target", "custom_params"}:
        raise WatiValidationError(
            f"{where} is {{'target': ..., 'custom_params': ...}}: WATI can change nothing else."
        )
    try:
        target = CONTACTS.check(contact.get("target") or "")
    except WatiValidationError as error:
        raise WatiValidationError(f"{where}: {error}") from None
    # The one place where V3 spells it customParams.
    params = checks.contact_attributes(contact.get("custom_params"), where)
    return {"target": str(target), "customParams": params}
