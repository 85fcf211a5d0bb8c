"""Whether a message of a customer is a word that opts out, such as STOP, or back in, such as START."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

#: Messages that opt out, by language: whole messages, so that "stop by the shop" is none of them. The first ones of
#: English are those that Twilio, AWS and Braze act on.
OPT_OUT_WORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "en": frozenset({
            "stop", "stopall", "stop all", "unsubscribe", "revoke", "opt out", "optout",
            "stop promotions", "stop messages", "unsubscribe me", "please stop", "stop please",
            "cancel", "end", "quit", "remove", "remove me",
        }),
        "de": frozenset({"stopp", "abmelden", "abbestellen", "bitte stopp", "stopp bitte"}),
        "fr": frozenset({"arrêt", "arrêter", "arrêtez", "désabonner", "me désabonner", "désinscription", "stop svp"}),
        "es": frozenset({"baja", "darme de baja", "dar de baja", "desuscribir", "no enviar más", "cancelar"}),
        "pt": frozenset({"parar", "pare", "descadastrar", "não enviar mais", "cancelar", "sair"}),
        "it": frozenset({"disiscrivimi", "cancellami", "disiscrizione"}),
        "nl": frozenset({"afmelden", "uitschrijven", "stop aub"}),
        "id": frozenset({"berhenti", "berhenti berlangganan"}),
        "tr": frozenset({"iptal", "abonelikten çık"}),
        "ru": frozenset({"стоп", "отписаться", "отписка", "отпишите меня"}),
        "ar": frozenset({"توقف", "أوقف", "إيقاف", "إلغاء الاشتراك"}),
        "he": frozenset({"הסר", "הסירו אותי", "הסרה"}),
        "hi": frozenset({"बंद करो", "बंद करें", "रोकें", "रोको"}),
        "zh": frozenset({"退订", "退訂", "取消订阅", "取消訂閱", "td"}),
        "ja": frozenset({"配信停止", "停止"}),
    }
)  # fmt: skip
#: Messages that opt back in, by language.
OPT_IN_WORDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "en": frozenset({"start", "unstop", "subscribe", "resubscribe", "opt in", "optin"}),
        "de": frozenset({"abonnieren"}),
        "fr": frozenset({"s'abonner", "m'abonner"}),
        "es": frozenset({"alta", "darme de alta", "suscribir"}),
        "ru": frozenset({"старт", "подписаться"}),
    }
)
#: Words that count when a person types them. As the label of a button they answer a question: a tap on "Cancel" under
#: "Shall we cancel your order?" opts out of nothing, and one on "Start" may start a chatbot.
TYPED_ONLY = frozenset({
    "cancel", "end", "quit", "remove", "cancelar", "sair", "iptal", "start", "alta",
})  # fmt: skip
#: Longer messages are not read. The limit is in characters as they arrive.
LONGEST_TEXT = 200
#: WATI's types of messages whose text is the label of a button or a list row that was tapped.
_TAPS = frozenset({"interactive", "button"})
#: What people leave out, and what nobody sees: accents, the vowel signs, hamzas and the stretching mark of Arabic,
#: fillers, the marks that choose how an emoji looks.
_LEFT_OUT = re.compile("[\u0300-\u036f\u0640\u064b-\u0655\u115f\u1160\u20d0-\u20ff\ufe00-\ufe0f]")


def comparable(text: str) -> str:
    """
    Return the words of a text in a form in which all its spellings are equal.

    Full-width and other styled letters become plain ones, accents, invisible characters and case are dropped, and
    whatever stands between words becomes one space.

    :param text: any text.
    """
    plain = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold()).replace("ı", "i")
    seen = "".join(c for c in _LEFT_OUT.sub("", plain) if unicodedata.category(c) != "Cf")
    # The vowel signs of Indian scripts are marks (M), and belong to their word.
    words = "".join(c if unicodedata.category(c)[0] in "LMN" else " " for c in seen)
    return unicodedata.normalize("NFC", " ".join(words.split()))


class ConsentChoice(StrEnum):
    """What a message says about further messages."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"


@dataclass(frozen=True)
class ConsentWords:
    """
    The messages that opt out and back in.

    The rule is that of Twilio and Braze: the whole message is one of them, whatever its case. Spaces, punctuation,
    emoji, accents and invisible characters do not count, so " Stop!! 🛑" is a STOP, and "stop by the shop", "non-stop"
    and "don't stop" are not.

    :param opt_out: messages that opt out.
    :param opt_in: messages that opt back in. One that is on both lists opts out: one message less is the smaller harm.
    :param typed_only: those of both that count only if they are typed, not as the label of a button.
    """

    opt_out: Iterable[str] = frozenset().union(*OPT_OUT_WORDS.values())
    opt_in: Iterable[str] = frozenset().union(*OPT_IN_WORDS.values())
    typed_only: Iterable[str] = TYPED_ONLY
    _choices: Mapping[str, ConsentChoice] = field(init=False, repr=False, compare=False)
    _typed_only: frozenset[str] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        choices = dict.fromkeys(map(comparable, self.opt_in), ConsentChoice.OPT_IN)
        choices |= dict.fromkeys(map(comparable, self.opt_out), ConsentChoice.OPT_OUT)
        choices.pop("", None)
        object.__setattr__(self, "_choices", choices)
        object.__setattr__(self, "_typed_only", frozenset(map(comparable, self.typed_only)))

    def choice_of(self, text: str | None, message_type: str | None = None) -> ConsentChoice | None:
        """
        Return what a message chooses; None for any other message.

        :param text: the text of the message, or of the button that was tapped; one of more than 200 characters chooses
            nothing.
        :param message_type: WATI's type of it, such as ``text``, ``button`` or ``interactive``.
        """
        if not text or len(text) > LONGEST_TEXT:
            return None
        words = comparable(text)
        if words in self._typed_only and (message_type or "").casefold() in _TAPS:
            return None
        return self._choices.get(words)


#: The words of all languages.
CONSENT_WORDS = ConsentWords()


def is_opt_out(text: str | None, message_type: str | None = None) -> bool:
    """
    Return whether a message opts out, by the words of all languages.

    :param text: the text of the message, or of the button that was tapped.
    :param message_type: WATI's type of it, such as ``text``, ``button`` or ``interactive``.
    """
    return CONSENT_WORDS.choice_of(text, message_type) is ConsentChoice.OPT_OUT


def is_opt_in(text: str | None, message_type: str | None = None) -> bool:
    """
    Return whether a message opts back in, by the words of all languages.

    :param text: the text of the message, or of the button that was tapped.
    :param message_type: WATI's type of it, such as ``text``, ``button`` or ``interactive``.
    """
    return CONSENT_WORDS.choice_of(text, message_type) is ConsentChoice.OPT_IN
