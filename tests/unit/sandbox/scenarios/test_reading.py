"""Scenarios: those in the package, the example of the documentation, and files that are refused."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_wati.sandbox.__main__ import main
from airflow_provider_wati.sandbox.model.lookups import find_template
from airflow_provider_wati.sandbox.scenarios import BUILT_IN, ScenarioError, load_scenario, read_scenario
from airflow_provider_wati.sandbox.settings import Settings
from airflow_provider_wati.sandbox.workspace import Workspace

EXAMPLE = Path(__file__).parents[4] / "docs" / "scenario.json"
REMOVED = object()


def example(**changes: Any) -> dict[str, Any]:
    """The example, with members changed: ``contacts__0__phone="1"``."""
    content: dict[str, Any] = json.loads(EXAMPLE.read_text())
    for path, value in changes.items():
        *way, last = [int(part) if part.isdecimal() else part for part in path.split("__")]
        place: Any = content
        for part in way:
            place = place[part]
        if value is REMOVED:
            del place[last]
        else:
            place[last] = value
    return content


def read(content: object) -> Any:
    return read_scenario(json.dumps(content).encode(), "mine.json")


def workspace_of(content: object) -> Workspace:
    return Workspace("a-token", Settings(), read(content))


@pytest.mark.parametrize("name", BUILT_IN)
def test_a_scenario_of_the_package_is_planted_and_comes_back_after_a_reset(name: str) -> None:
    """Each built-in scenario fills a workspace with contacts, open conversations and an approved template, twice alike."""
    workspace = Workspace("a-token", Settings(), load_scenario(name))
    counts = []
    for _ in range(2):
        state = workspace.state
        counts.append((len(state.contacts), state.conversation_count(), len(state.messages)))
        assert any(template.status == "APPROVED" for template in state.templates)
        assert any(state.window_is_open(talk) for talk in state.latest_conversations())
        workspace.reset()
    assert counts[0] == counts[1]
    assert all(counts[0])


def test_the_example_of_the_documentation_says_all_that_it_can() -> None:
    """What the example of the documentation has is in the workspace: people, consent, teams, talks and delivery."""
    workspace = Workspace("a-token", Settings(), load_scenario(EXAMPLE))
    state = workspace.state
    olga, paul, quinn = (
        state.by_phone["12025550171"],
        state.by_phone["12025550172"],
        state.by_bsuid["DE.99887766554433221100"],
    )
    assert (olga.custom_params, olga.teams, olga.allow_broadcast) == ({"bread": "rye"}, ("Shop",), True)
    assert (paul.allow_broadcast, quinn.username, len(state.contacts)) == (False, "quinn", 23)
    talk = olga.conversations[0]
    assert (talk.channel.name, talk.operator, talk.tags) == ("Orders", "ines@bakery.example", ("regular",))
    now = state.clock.now()
    assert [round((now - state.messages.created[each]) / 3600, 1) for each in talk.messages] == [3.0, 2.5]
    assert state.window_is_open(talk)
    assert (state.delivery.seed, state.delivery.rates.replies) == (7, ("Thank you!", "Stop"))
    assert [(each.code, each.share) for each in state.delivery.failures] == [
        ("131026", 0.03),
        ("131049", 0.05),
    ]
    template = find_template(state, "bread_ready", state.default_channel)
    assert template is not None
    assert template.buttons[0] == "I am coming"


def test_a_reset_without_people_leaves_the_workspace() -> None:
    """A reset with ``seed`` false keeps channels and templates of the scenario, and nobody."""
    workspace = workspace_of(example())
    workspace.reset(seed=False)
    assert (len(workspace.state.contacts), workspace.state.conversation_count()) == (0, 0)
    assert [each.name for each in workspace.state.templates] == ["bread_ready"]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"format": REMOVED}, "format is required"),
    ({"format": "wati-sandbox-scenario/2"}, 'format must be "wati-sandbox-scenario/1"'),
    ({"surprise": 1}, "surprise is not a known member"),
    ({"channels": []}, "channels must have 1 to 100 items"),
    ({"channels__1__name": "Default"}, "channels[1].name is the same as channels[0].name"),
    ({"channels__1__phone": "14155550130"}, "channels[1].phone is the same as channels[0].phone"),
    ({"templates__0__status": "approved"}, "templates[0].status must be one of"),
    ({"templates__0__channels": ["Nowhere"]}, "templates[0].channels must be among the scenario's channels"),
    ({"templates__0__params__bread": REMOVED}, "templates[0].params needs an example of bread"),
    ({"templates__0__params__price": "1"}, "templates[0].params.price is not used"),
    ({"contacts__0__phone": "+1 202 555"}, "contacts[0].phone must be a string of 7 to 15 digits"),
    ({"contacts__0__phone": 12025550171}, "contacts[0].phone must be a string of 7 to 15 digits"),
    ({"contacts__1__phone": "12025550171"}, "contacts[1].phone is the same as contacts[0].phone"),
    ({"contacts__0__bsuid": "US.1"}, "contacts[0] needs either a phone or a bsuid"),
    ({"contacts__2__bsuid": REMOVED}, "contacts[2] needs either a phone or a bsuid"),
    ({"contacts__0__teams": ["Bakers"]}, "contacts[0].teams must be among the scenario's teams"),
    ({"contacts__0__custom_params__bread": 1}, "contacts[0].custom_params.bread must be a string"),
    ({"contacts__0__allow_broadcast": "no"}, "contacts[0].allow_broadcast must be a boolean"),
    ({"generated_contacts__first_phone": "999999999999999"}, "generated_contacts.first_phone leaves no room"),
    ({"generated_contacts__count": True}, "generated_contacts.count must be a whole number"),
    ({"conversations__0__contact": "12025550199"}, "conversations[0].contact must be among"),
    ({"conversations__0__channel": "Nowhere"}, "conversations[0].channel must be among"),
    ({"conversations__0__operator": "nobody"}, "conversations[0].operator must be among"),
    ({"conversations__0__tags": ["new"]}, "conversations[0].tags must be among"),
    ({"conversations__0__messages": []}, "conversations[0].messages must have 1 to 1000 items"),
    ({"conversations__0__messages__1__hours_ago": 4}, "conversations[0].messages[1].hours_ago is before"),
    ({"conversations__0__messages__0__hours_ago": -1}, "messages[0].hours_ago must be a number from 0"),
    ({"conversations__0__messages__0__operator": "ines@bakery.example"}, "messages[0].operator is for"),
    ({"conversations__0__messages__0__from": "bot"}, "messages[0].from must be one of customer, business"),
    ({"delivery__failures__0__code": "404"}, "delivery.failures[0].code must be one of 131026"),
    ({"delivery__failures__0__share": 1.5}, "delivery.failures[0].share must be a number from 0 to 1"),
    ({"delivery__failures__0__share": 0.96}, "the shares for marketing messages add up to 1.01"),
    ({"delivery__read": "most"}, "delivery.read must be a number from 0 to 1"),
    ({"delivery__read_after": [60, 5]}, "delivery.read_after must be two numbers of seconds"),
    ({"delivery__read_after": [0, 5]}, "delivery.read_after[0] must be a number from 0.1"),
]


@pytest.mark.parametrize(("changes", "said"), WRONG, ids=[said for _, said in WRONG])
def test_what_is_wrong_is_named_with_its_place(changes: dict[str, Any], said: str) -> None:
    """A scenario with one mistake is refused, and the message names the file and the member."""
    with pytest.raises(ScenarioError) as refused:
        read(example(**changes))
    assert str(refused.value).startswith("mine.json: ")
    assert said in str(refused.value)


def test_the_same_talk_twice_is_refused() -> None:
    """Two conversations of one contact on one channel are refused."""
    content = example()
    content["conversations"].append(copy.deepcopy(content["conversations"][0]))
    with pytest.raises(ScenarioError, match=r"conversations\[1\], contact and channel, is the same"):
        read(content)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b'{"format": \n "x",, }', "line 2, column 6: this is not JSON"),
        (b'{"format": "\xff"}', "not UTF-8"),
        (b'{"format": "\\ud800"}', "half of a character"),
        (b'{"format": "a", "format": "b"}', "format is there twice"),
        (b'{"format": NaN}', "NaN is not a number"),
        (b"[" * 100_000, "nested too deep"),
        (b"[]", "must hold a JSON object"),
        (b"", "line 1, column 1"),
    ],
)
def test_what_is_not_json_is_named_with_its_line(raw: bytes, said: str) -> None:
    """A file that is not JSON is refused with the line, or with what it is."""
    with pytest.raises(ScenarioError, match=said.replace("[", r"\[")):
        read_scenario(raw, "mine.json")


def test_the_command_says_what_is_wrong_and_does_not_start(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command ends with 1 and the message for a scenario that is missing or wrong."""
    wrong = tmp_path / "wrong.json"
    wrong.write_text(json.dumps(example(channels=[])))
    assert main(["--scenario", str(wrong), "--port", "0"]) == 1
    assert "channels must have 1 to 100 items" in capsys.readouterr().err
    assert main(["--scenario", "bakery", "--port", "0"]) == 1
    assert "Give one of shop, clinic, helpdesk" in capsys.readouterr().err
