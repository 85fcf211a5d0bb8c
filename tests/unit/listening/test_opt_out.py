"""Which messages opt out, and which opt back in."""

from __future__ import annotations

import pytest

from airflow_provider_wati.listening.opt_out import (
    OPT_IN_WORDS,
    OPT_OUT_WORDS,
    TYPED_ONLY,
    ConsentChoice,
    ConsentWords,
    comparable,
    is_opt_in,
    is_opt_out,
)


@pytest.mark.parametrize(
    "text",
    [
        "STOP",
        "stop",
        "Stop.",
        "  stop!!! ",
        "stop\n",
        '"STOP"',
        "*STOP*",
        "_stop_",
        "stop 🛑",
        "🙏stop🙏🏽",
        "Stop ❤️",
        "ＳＴＯＰ",
        "𝗦𝗧𝗢𝗣",
        "𝓢𝓽𝓸𝓹",
        "st\u200bop",
        "\ufeffstop\u200d",
        "s\u00adtop",
        "\u202bSTOP\u202c",
        "stop\u3164",
        "stop\u00a0",
        "STÓP",
        "STOPP",
        "Opt-out",
        "opt   out",
        "Stop, please!",
        "UNSUBSCRIBE",
        "Cancel",
        "ARRET",
        "Arrêt",
        "ARRE\u0302T",
        "BAJA",
        "¡Baja!",
        "İPTAL",
        "IPTAL",
        "ABONELİKTEN ÇIK",
        "abonelikten cik",
        "СТОП",
        "إيقاف",
        "ايقاف",
        "\u200fتوقف.\u200f",
        "تَوَقُّف",
        "הסר",
        "बंद करो",
        "退订",
        "配信停止",
        "配信停止。",
    ],
)
def test_a_message_that_is_an_opt_out_word_opts_out(text: str) -> None:
    """Case, punctuation, emoji, accents, styled letters, direction and invisible characters do not hide the word."""
    assert is_opt_out(text)
    assert not is_opt_in(text)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "   ",
        "\u200b",
        "🛑",
        "non-stop",
        "nonstop",
        "Stop by the shop tomorrow",
        "Can I stop by?",
        "don't stop",
        "bus stop",
        "stop 5",
        "STOP1",
        "one-stop shop",
        "Please cancel my order",
        "cancelled",
        "the end",
        "unstoppable",
        "baja california",
        "stop" + " " * 200,
        "बंद",
        "sto p",
        "st\nop",
    ],
)
def test_any_other_message_does_not_opt_out(text: str | None) -> None:
    """A word inside a sentence or another word opts out of nothing, and neither does a message without words."""
    assert not is_opt_out(text)
    assert not is_opt_in(text)


@pytest.mark.parametrize(
    "text", ["START", "start!", "Unstop", "subscribe", "ＳＴＡＲＴ", "Opt-in", "S’abonner", "Alta"]
)
def test_an_opt_in_word_opts_back_in(text: str) -> None:
    """START and its kind opt in, and not out."""
    assert is_opt_in(text)
    assert not is_opt_out(text)


@pytest.mark.parametrize("message_type", ["interactive", "button", "Interactive"])
def test_a_tap_counts_where_the_label_means_nothing_else(message_type: str) -> None:
    """A tap on "Stop promotions" opts out; one on "Cancel" or "Start" answers the question above the button."""
    assert is_opt_out("Stop promotions", message_type)
    assert is_opt_out("STOP", message_type)
    assert is_opt_in("Subscribe", message_type)
    for label in TYPED_ONLY:
        assert not is_opt_out(label, message_type)
        assert not is_opt_in(label, message_type)


@pytest.mark.parametrize("message_type", [None, "text", "image"])
def test_a_typed_word_counts(message_type: str | None) -> None:
    """What is typed, also under an image, counts on every list."""
    assert is_opt_out("Cancel", message_type)
    assert is_opt_in("Start", message_type)


def test_words_of_ones_own_replace_the_lists() -> None:
    """Own words are compared like the others; a word that is on both lists opts out."""
    words = ConsentWords(opt_out=["No más", "hold", ""], opt_in=["HOLD", "Weiter"], typed_only=["weiter"])
    assert words.choice_of("NO MAS!") is ConsentChoice.OPT_OUT
    assert words.choice_of("hold") is ConsentChoice.OPT_OUT
    assert words.choice_of("weiter") is ConsentChoice.OPT_IN
    assert words.choice_of("weiter", "button") is None
    assert words.choice_of("stop") is None
    assert words.choice_of("?!") is None


def test_the_languages_can_be_chosen() -> None:
    """A list of one language knows the words of that language only."""
    words = ConsentWords(opt_out=OPT_OUT_WORDS["de"])
    assert words.choice_of("Abmelden") is ConsentChoice.OPT_OUT
    assert words.choice_of("baja") is None


def test_no_listed_word_is_lost_or_says_two_things() -> None:
    """Each word of the lists keeps its letters when it is compared, and opts either out or in."""
    out = {comparable(word) for words in OPT_OUT_WORDS.values() for word in words}
    back = {comparable(word) for words in OPT_IN_WORDS.values() for word in words}
    assert "" not in out | back
    assert not out & back
    assert {comparable(word) for word in TYPED_ONLY} <= out | back
    for words in OPT_OUT_WORDS.values():
        assert all(map(is_opt_out, words))
