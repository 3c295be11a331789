"""A head's file, and who switched on which head: what is kept holds, and what was changed counts as none."""

import hashlib
import json
from datetime import UTC, datetime

import numpy as np
import pytest

from orchestrator.domain import ModelIdentity
from orchestrator.errors import ConfigurationError
from orchestrator.site_head.head_file import head_bytes, made, parsed, read_head, write_head
from orchestrator.site_head.registry import TRAIL, HeadRegistry, foreign

MODEL = ModelIdentity("wbc", 7, "ab" * 32)
KEY = b"a key of sixteen bytes"


def a_head(profile="my-scope", decision="recommended", weight=0.5):
    return made(
        name=f"{profile}.1",
        model=MODEL,
        recipe_sha256="cd" * 32,
        delta=np.full((4, 5), weight, np.float32),
        temperature=1.1,
        review_threshold=0.7,
        max_energy=-1.0,
        features=None,
        made_at=datetime(2026, 11, 30, tzinfo=UTC),
        made_by="anna",
        decision=decision,
        summary={"why": "on specimens left out it is better"},
    )


@pytest.fixture
def registry(tmp_path):
    return HeadRegistry(tmp_path, clock=iter(range(10**6)).__next__)


def test_a_file_gives_back_the_very_head(tmp_path):
    head = a_head()
    write_head(tmp_path / "my-scope.1.head", head, KEY)

    read = read_head(tmp_path / "my-scope.1.head", KEY)

    assert read.sha256 == head.sha256
    assert read.delta.tobytes() == head.delta.tobytes()
    assert read.label == f"my-scope.1:{head.sha256}"


def changed(**fields):
    file = json.loads(head_bytes(a_head(), KEY))
    file["content"] |= fields
    return json.dumps(file).encode()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\x80\x04\x95", "not JSON"),
        (b"[]", "no site head"),
        (b"x" * 2**19, "bytes"),
        (changed(temperature=2.0), "digest"),
        (changed(temperature="nan"), "temperature"),
        (changed(rows=9), "digest"),
        (changed(rows=2**30), "rows"),
        (changed(name="../../etc.1"), "name"),
        (changed(code="import os"), "code"),
        (changed(format="wbc-site-head/2"), "expected wbc-site-head/1"),
    ],
)
def test_a_file_that_is_not_as_it_was_written_is_refused(data, why):
    with pytest.raises(ConfigurationError, match=why):
        parsed(data, None)


@pytest.mark.parametrize("weight", [np.nan, np.inf, 1e9])
def test_numbers_out_of_bounds_are_refused(weight):
    with pytest.raises(ConfigurationError, match="numbers up to"):
        a_head(weight=weight)


def test_with_a_key_only_what_it_signed_counts():
    unsigned, of_another = head_bytes(a_head()), head_bytes(a_head(), b"another key of the site")

    for data in (unsigned, of_another):
        parsed(data, None)
        with pytest.raises(ConfigurationError, match="WBC_HEADS_KEY"):
            parsed(data, KEY)


def test_a_new_head_stays_off_until_it_is_switched_on(registry):
    kept = registry.add(a_head(), "anna")

    assert registry.active("my-scope") is None
    registry.switch_on(kept.name, "berk")
    assert registry.active("my-scope").sha256 == kept.sha256
    assert [(e.who, e.act, e.head) for e in registry.trail("my-scope")] == [
        ("anna", "made", "my-scope.1"),
        ("berk", "switched on", "my-scope.1"),
    ]


def test_versions_are_numbered_and_rolled_back_one_by_one(registry):
    first, second = registry.add(a_head(), "anna"), registry.add(a_head(weight=0.25), "anna")
    assert [head.name for head in registry.versions("my-scope")[0]] == ["my-scope.1", "my-scope.2"]
    registry.switch_on(first.name, "anna")
    registry.switch_on(second.name, "anna")

    assert registry.roll_back("my-scope", "anna", "new stain lot").name == "my-scope.1"
    assert registry.active("my-scope").name == "my-scope.1"
    assert registry.roll_back("my-scope", "anna") is None
    assert registry.active("my-scope") is None
    with pytest.raises(ConfigurationError, match="no head that could be rolled back"):
        registry.roll_back("my-scope", "anna")


def acts(registry):
    return [(entry.act, entry.head) for entry in registry.trail("my-scope")]


@pytest.fixture
def shadowed(registry):
    """Version 1 answers, and version 2, of too few cells to be switched on, is in the shadow."""
    first = registry.add(a_head(), "anna")
    second = registry.add(a_head(decision="too few", weight=0.25), "anna")
    registry.switch_on(first.name, "anna")
    registry.run_in_shadow(second.name, "berk", "to see how often")
    return second


def test_a_head_in_the_shadow_answers_nobody_and_the_trail_says_who_put_it_there(registry, shadowed):
    assert registry.active("my-scope").name == "my-scope.1"
    assert registry.shadow("my-scope").sha256 == shadowed.sha256
    assert registry.shadow("another-scope") is None
    last = registry.trail("my-scope")[-1]
    assert (last.who, last.act, last.head, last.sha256, last.reason) == (
        ("berk", "shadowed", "my-scope.2", shadowed.sha256, "to see how often")
    )


def test_a_shadow_is_ended_by_who_says_so_once(registry, shadowed):
    registry.end_shadow("my-scope", "anna", "seen enough")

    assert registry.shadow("my-scope") is None
    assert registry.active("my-scope").name == "my-scope.1"
    assert acts(registry)[-1] == ("shadow ended", shadowed.name)
    with pytest.raises(ConfigurationError, match="no head in the shadow"):
        registry.end_shadow("my-scope", "anna")


@pytest.fixture
def tried(registry):
    """Version 1 is on, and version 2 answers for a quarter."""
    first = registry.add(a_head(), "anna")
    registry.switch_on(first.name, "anna")
    second = registry.add(a_head(weight=0.25), "anna")
    registry.begin_canary(second.name, "berk", 0.25, "to see it answer")
    return second


def test_a_canary_leaves_the_head_that_is_on_and_the_trail_says_who_began_it_with_which_share(
    registry, tried, tmp_path
):
    canary = registry.canary("my-scope")
    assert (canary.head.sha256, canary.share) == (tried.sha256, 0.25)
    assert registry.active("my-scope").name == "my-scope.1"
    assert registry.canary("another-scope") is None
    assert [(e.who, e.act, e.head, e.sha256, e.share, e.reason) for e in registry.trail("my-scope")][-1] == (
        "berk", "canary begun", tried.name, tried.sha256, 0.25, "to see it answer"
    )  # fmt: skip
    assert ["share" in json.loads(line) for line in (tmp_path / TRAIL).read_text().splitlines()] == [
        False, False, False, True
    ]  # fmt: skip


def test_the_same_image_always_gets_the_same_head_and_so_it_does_when_the_share_grows(registry, tried):
    images = [f"{number:064x}" for number in range(2000)]
    few = {image for image in images if registry.canary("my-scope").takes(image)}
    assert few == {image for image in images if registry.canary("my-scope").takes(image)}
    assert 0.2 < len(few) / len(images) < 0.3

    registry.begin_canary(tried.name, "berk", 0.5)

    assert {image for image in images if registry.canary("my-scope").takes(image)} > few
    third = registry.add(a_head(weight=0.125), "anna")
    registry.begin_canary(third.name, "berk", 0.25)
    assert {image for image in images if registry.canary("my-scope").takes(image)} != few


@pytest.mark.usefixtures("tried")
@pytest.mark.parametrize("ends", ["end_canary", "roll_back", "switch_on", "switch_on another"])
def test_a_canary_ends_by_word_and_by_whatever_changes_the_head_that_is_on(registry, ends):
    third = registry.add(a_head(), "anna")
    match ends:
        case "end_canary":
            registry.end_canary("my-scope", "anna", "seen enough")
        case "roll_back":
            assert registry.roll_back("my-scope", "anna") is None
        case "switch_on":
            registry.switch_on("my-scope.2", "anna")
        case _:
            registry.switch_on(third.name, "anna")

    assert registry.canary("my-scope") is None
    answers = {"end_canary": "my-scope.1", "switch_on": "my-scope.2", "switch_on another": "my-scope.3"}
    head = registry.active("my-scope")
    assert (head and head.name) == answers.get(ends)
    with pytest.raises(ConfigurationError, match="has no canary"):
        registry.end_canary("my-scope", "anna")


def test_rolling_back_where_nothing_but_a_canary_answers_ends_it_and_can_be_done_once(registry):
    registry.begin_canary(registry.add(a_head(), "anna").name, "anna")

    assert registry.roll_back("my-scope", "anna", "it errs") is None
    assert registry.canary("my-scope") is None
    assert acts(registry)[-1] == ("canary ended", "my-scope.1")
    with pytest.raises(ConfigurationError, match="no head that could be rolled back"):
        registry.roll_back("my-scope", "anna")


@pytest.mark.parametrize(
    ("decision", "reason", "why"),
    [("too few", "painted cells, and nobody is hurt", "stays off"), ("not better", "why not", "at least 10")],
)
def test_a_canary_takes_what_switching_on_takes_as_it_answers_callers(registry, decision, reason, why):
    head = registry.add(a_head(decision=decision), "anna")

    with pytest.raises(ConfigurationError, match=why):
        registry.begin_canary(head.name, "anna", 0.1, reason)

    assert registry.canary("my-scope") is None
    assert acts(registry) == [("made", head.name)]


@pytest.mark.parametrize("share", [0, -0.1, 0.51, 1, float("nan")])
def test_a_share_that_is_none_or_most_of_all_is_refused(registry, share):
    head = registry.add(a_head(), "anna")

    with pytest.raises(ConfigurationError, match=r"share: expected more than 0 and at most 0\.5"):
        registry.begin_canary(head.name, "anna", share)


@pytest.mark.usefixtures("tried")
def test_a_head_that_is_on_is_no_canary_and_a_canary_runs_in_no_shadow(registry):
    with pytest.raises(ConfigurationError, match="is on already"):
        registry.begin_canary("my-scope.1", "anna")
    with pytest.raises(ConfigurationError, match="answers already"):
        registry.run_in_shadow("my-scope.2", "anna")
    third = registry.add(a_head(weight=0.125), "anna")
    registry.run_in_shadow(third.name, "anna")
    assert registry.shadow("my-scope").name == third.name

    registry.begin_canary(third.name, "anna")

    assert registry.shadow("my-scope") is None
    assert registry.canary("my-scope").head.name == third.name


@pytest.mark.parametrize("share", [None, 1.0, "0.1", [0.1]])
def test_a_trail_with_a_share_that_cannot_be_is_not_used(registry, tmp_path, share):
    registry.begin_canary(registry.add(a_head(), "anna").name, "anna")
    lines = [json.loads(line) for line in (tmp_path / TRAIL).read_text().splitlines()]
    last = {key: value for key, value in lines[-1].items() if key != "hash"} | {"share": share}
    last["hash"] = hashlib.sha256(json.dumps(last, sort_keys=True).encode()).hexdigest()
    (tmp_path / TRAIL).write_text("".join(json.dumps(line) + "\n" for line in (lines[0], last)))

    assert registry.canary("my-scope") is None
    with pytest.raises(ConfigurationError, match="line 2 is not as it was written"):
        registry.trail("my-scope")


def test_a_canary_whose_file_was_changed_leaves_the_head_that_is_on(registry, tmp_path, tried, caplog):
    (tmp_path / f"{tried.name}.head").write_text("{}")
    registry = HeadRegistry(tmp_path)

    assert registry.canary("my-scope") is None
    assert registry.active("my-scope").name == "my-scope.1"
    assert "profile my-scope has no canary" in caplog.text
    registry.end_canary("my-scope", "anna")


@pytest.mark.usefixtures("shadowed")
def test_another_head_takes_the_place_of_the_one_in_the_shadow_and_none_that_answers(registry):
    third = registry.add(a_head(weight=0.125), "anna")
    registry.run_in_shadow(third.name, "anna")

    assert registry.shadow("my-scope").name == third.name
    with pytest.raises(ConfigurationError, match="answers already"):
        registry.run_in_shadow("my-scope.1", "anna")
    assert registry.shadow("my-scope").name == third.name


@pytest.mark.usefixtures("shadowed")
def test_a_head_that_comes_to_answer_is_in_the_shadow_no_more(registry):
    third = registry.add(a_head(weight=0.125), "anna")
    registry.run_in_shadow(third.name, "anna")
    registry.switch_on(third.name, "anna")
    assert registry.shadow("my-scope") is None

    registry.run_in_shadow("my-scope.1", "anna")
    assert registry.roll_back("my-scope", "anna").name == "my-scope.1"
    assert registry.shadow("my-scope") is None
    assert registry.roll_back("my-scope", "anna") is None


def test_a_shadow_whose_file_was_changed_leaves_the_head_that_answers(registry, tmp_path, shadowed, caplog):
    (tmp_path / f"{shadowed.name}.head").write_text("{}")
    registry.add(a_head(), "anna")  # the trail is read again

    assert registry.shadow("my-scope") is None
    assert registry.active("my-scope").name == "my-scope.1"
    assert "profile my-scope has no head in the shadow" in caplog.text
    registry.end_shadow("my-scope", "anna")


def test_what_was_not_shown_to_be_better_takes_a_reason(registry):
    kept = registry.add(a_head(decision="not better"), "anna")

    with pytest.raises(ConfigurationError, match="give a reason"):
        registry.switch_on(kept.name, "anna", "ok")

    registry.switch_on(kept.name, "anna", "we tried it on fifty slides")
    assert registry.active("my-scope").name == kept.name


def test_too_few_cells_stay_off_whatever_the_reason(registry):
    kept = registry.add(a_head(decision="too few"), "anna")

    with pytest.raises(ConfigurationError, match="stays off"):
        registry.switch_on(kept.name, "anna", "we tried it on fifty slides")


def test_another_sites_head_takes_a_reason(registry):
    kept = registry.add(foreign(a_head("their-scope"), "my-scope"), "anna", act="imported")

    assert kept.profile == "my-scope"
    with pytest.raises(ConfigurationError, match=r"learnt elsewhere, as their-scope\.1"):
        registry.switch_on(kept.name, "anna")


def test_a_trail_that_was_changed_switches_everything_off(registry, tmp_path):
    registry.switch_on(registry.add(a_head(), "anna").name, "anna")
    assert registry.active("my-scope") is not None
    path = tmp_path / TRAIL

    path.write_text(path.read_text().replace("anna", "berk"))

    assert registry.active("my-scope") is None
    with pytest.raises(ConfigurationError, match="line 1 is not as it was written"):
        registry.trail()


def test_a_folder_that_cannot_be_locked_or_written_is_told(registry, tmp_path):
    (tmp_path / f".{TRAIL}.lock").mkdir()

    for act in (registry.require_writable, lambda: registry.add(a_head(), "anna")):
        with pytest.raises(ConfigurationError, match="folder of heads cannot be written"):
            act()


def test_a_head_that_the_trail_does_not_know_is_not_kept(registry, tmp_path):
    registry.add(a_head(), "anna")
    (tmp_path / TRAIL).write_text("{}\n")

    with pytest.raises(ConfigurationError, match="line 1 is not as it was written"):
        registry.add(a_head(), "anna")

    assert [path.name for path in tmp_path.glob("*.head")] == ["my-scope.1.head"]


def test_a_full_trail_refuses_the_next_act_and_its_head_goes_on_answering(tmp_path):
    registry = HeadRegistry(tmp_path, clock=iter(range(10**6)).__next__, max_trail_bytes=1500)
    registry.switch_on(registry.add(a_head(), "anna").name, "anna", "ğ" * 300)

    with pytest.raises(ConfigurationError, match=r"is full .*export the head that answers"):
        registry.add(a_head(), "anna", "ğ" * 300)

    assert registry.active("my-scope").name == "my-scope.1"
    assert [path.name for path in tmp_path.glob("*.head")] == ["my-scope.1.head"]


def test_a_trail_says_what_was_said_in_letters_of_any_kind(registry, tmp_path):
    registry.add(a_head(), "Ayşe \udcff", "iğne ucu")

    assert [(entry.who, entry.reason) for entry in registry.trail()] == [("Ayşe \udcff", "iğne ucu")]
    assert "Ayşe".encode() in (tmp_path / TRAIL).read_bytes()


def test_a_file_that_does_not_hold_leaves_the_other_versions(registry, tmp_path):
    registry.add(a_head(), "anna")
    kept = registry.add(a_head(), "anna")
    (tmp_path / "my-scope.1.head").write_text("{}")

    heads, broken = registry.versions("my-scope")

    assert [head.name for head in heads] == [kept.name]
    assert [why.partition(":")[0] for why in broken] == ["my-scope.1.head"]


def test_another_file_under_the_name_of_the_active_head_does_not_answer(registry, tmp_path):
    kept = registry.add(a_head(), "anna")
    registry.switch_on(kept.name, "anna")

    write_head(tmp_path / "my-scope.1.head", a_head(weight=0.75))

    assert HeadRegistry(tmp_path).active("my-scope") is None
