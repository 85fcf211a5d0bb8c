from __future__ import annotations

from datetime import date

from airflow_provider_wati.sandbox.page.parity import parity


def test_every_behaviour_says_how_it_is_known() -> None:
    """Each behaviour is listed once, with an area, one of three ways of knowing it, a source and a date."""
    behaviours = parity()["behaviours"]
    assert behaviours
    for each in behaviours:
        assert set(each) == {"area", "behaviour", "known", "source", "date"}
        assert all(each.values()), each
        assert each["known"] in ("documented", "observed", "inferred")
        assert date.fromisoformat(each["date"])
    texts = [each["behaviour"] for each in behaviours]
    assert sorted(set(texts)) == sorted(texts)


def test_a_choice_of_ours_is_inferred() -> None:
    """What the sandbox has chosen is never called documented or observed."""
    for each in parity()["behaviours"]:
        if each["source"] == "choice of the sandbox":
            assert each["known"] == "inferred", each
