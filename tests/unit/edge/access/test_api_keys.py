import hashlib
import logging
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from orchestrator.edge.access.api_key_file import (
    MAX_FILE_BYTES,
    ApiKeyFile,
    change_keys,
    keys_or_none,
    read_keys,
)
from orchestrator.edge.access.api_keys import KeyRing
from orchestrator.edge.access.security import AuthenticationUnavailable, Principal, Unauthenticated
from orchestrator.errors import ConfigurationError

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def ring_with(name: str = "lis", lifetime: timedelta | None = 90 * DAY) -> tuple[KeyRing, str]:
    return KeyRing().created(name, ("analyse", "review"), lifetime, NOW)


def test_a_key_makes_its_holder_known_by_name_and_roles():
    ring, key = ring_with()
    assert ring.principal(key, NOW) == Principal("key:lis", frozenset({"analyse", "review"}))


def test_a_key_has_256_random_bits_and_only_their_hash_is_kept():
    first, second = ring_with()[1], ring_with()[1]
    assert first.split("_", 2)[2] != second.split("_", 2)[2]
    ring, key = ring_with()
    secret = key.split("_", 2)[2]
    assert len(secret) * 6 >= 256
    kept = ring.model_dump_json()
    assert secret not in kept
    assert hashlib.sha256(secret.encode()).hexdigest() in kept


@pytest.mark.parametrize(
    "change",
    [
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: key[:-1],
        lambda key: key + "A",
        lambda key: key.replace("wbc_", "WBC_"),
        lambda key: "wbc_" + "0" * 12 + key[16:],
        lambda _: "wbc_",
        lambda key: key.replace("_", "__", 1),
    ],
)
def test_anything_but_the_key_is_refused_in_the_same_words(change):
    ring, key = ring_with()
    with pytest.raises(Unauthenticated, match=r"^This API key is unknown, expired or revoked\.$"):
        ring.principal(change(key), NOW)


def test_a_key_ends_when_it_expires_and_not_before():
    ring, key = ring_with(lifetime=DAY)
    assert ring.principal(key, NOW + DAY - timedelta(seconds=1)).name == "key:lis"
    with pytest.raises(Unauthenticated, match="unknown, expired or revoked"):
        ring.principal(key, NOW + DAY)
    assert ring.keys[0].state(NOW + DAY) == "expired"


def test_a_rotation_lets_both_secrets_in_for_the_overlap_and_the_new_one_after_it():
    ring, old = ring_with()
    ring, new = ring.rotated("lis", DAY, 90 * DAY, NOW)
    assert old.split("_")[1] == new.split("_")[1]  # the same key, with another secret
    for key in (old, new):
        assert ring.principal(key, NOW + DAY / 2).name == "key:lis"
    with pytest.raises(Unauthenticated):
        ring.principal(old, NOW + DAY)
    assert ring.principal(new, NOW + DAY).name == "key:lis"


def test_a_rotation_never_makes_the_old_secret_live_longer():
    ring, old = ring_with(lifetime=DAY)
    ring, _ = ring.rotated("lis", 30 * DAY, 90 * DAY, NOW)
    with pytest.raises(Unauthenticated):
        ring.principal(old, NOW + DAY)


def test_a_rotation_without_overlap_closes_the_old_secret_at_once():
    ring, old = ring_with()
    ring, _ = ring.rotated("lis", timedelta(0), None, NOW)
    with pytest.raises(Unauthenticated):
        ring.principal(old, NOW)


def test_a_revoked_key_is_closed_for_good_and_its_name_stays_taken():
    ring, key = ring_with()
    ring = ring.revoked(ring.keys[0].id, NOW)
    with pytest.raises(Unauthenticated):
        ring.principal(key, NOW)
    with pytest.raises(ConfigurationError, match="revoked"):
        ring.rotated("lis", DAY, None, NOW)
    with pytest.raises(ConfigurationError, match="of the name 'lis'"):
        ring.created("lis", ("analyse",), None, NOW)


@pytest.mark.parametrize(
    ("name", "roles", "told"),
    [
        ("a b", ("analyse",), "letters, digits"),
        ("../x", ("analyse",), "letters"),
        ("", ("sign",), "letters"),
        ("lis", (), "received none"),
        ("lis", ("analyse", "boss"), "received boss"),
    ],
)
def test_a_key_without_a_proper_name_or_role_is_not_made(name, roles, told):
    with pytest.raises(ConfigurationError, match=told):
        KeyRing().created(name, roles, None, NOW)


# The file


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys" / "api-keys.json"


def created(path: Path, name: str = "lis") -> str:
    return change_keys(path, lambda ring: ring.created(name, ("analyse",), None, NOW))


def test_the_file_is_its_owners_alone_and_replaced_as_a_whole(path):
    created(path)
    before = path.stat().st_ino
    created(path, "other")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.stat().st_ino != before
    assert [key.name for key in read_keys(path)[0].keys] == ["lis", "other"]
    assert sorted(child.name for child in path.parent.iterdir()) == [".api-keys.json.lock", path.name]


def test_a_change_that_fails_leaves_the_file_as_it_was(path):
    created(path)
    before = path.read_bytes()
    with pytest.raises(ConfigurationError):
        created(path)
    assert path.read_bytes() == before


async def test_a_running_service_sees_new_and_revoked_keys_within_a_second(path):
    clock = Clock()
    first = created(path)
    keys = ApiKeyFile(path, clock=clock, now=lambda: NOW)
    assert (await keys.verify(first)).name == "key:lis"
    second = created(path, "other")
    change_keys(path, lambda ring: (ring.revoked("lis", NOW), None))
    clock.now_s += 1.01
    assert (await keys.verify(second)).name == "key:other"
    with pytest.raises(Unauthenticated):
        await keys.verify(first)


@pytest.mark.parametrize("harm", ["broken", "removed", "writable", "readable", "huge"])
async def test_a_file_that_cannot_be_trusted_lets_nobody_in_until_it_can(path, harm, caplog):
    clock = Clock()
    key = created(path)
    whole = path.read_bytes()
    keys = ApiKeyFile(path, clock=clock, now=lambda: NOW)
    await keys.verify(key)
    match harm:
        case "broken":
            path.write_bytes(whole[:-10])
        case "removed":
            path.unlink()
        case "writable":
            path.chmod(0o620)
            path.touch()
            path.write_bytes(whole + b"\n")
        case "readable":  # its content and its time stay
            path.chmod(0o604)
        case "huge":
            path.write_bytes(whole + b" " * MAX_FILE_BYTES)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            clock.now_s += 1.01
            with pytest.raises(AuthenticationUnavailable):
                await keys.verify(key)
    assert len(caplog.records) == 1
    assert str(path) not in caplog.text
    path.unlink(missing_ok=True)
    path.write_bytes(whole)
    path.chmod(0o600)
    clock.now_s += 1.01
    assert (await keys.verify(key)).name == "key:lis"


def test_what_somebody_pasted_into_the_file_is_not_repeated(path):
    path.parent.mkdir()
    path.write_text('{"version": 1, "keys": [{"secret": "wbc_pasted"}]}')
    path.chmod(0o600)
    with pytest.raises(ConfigurationError) as raised:
        read_keys(path)
    assert "pasted" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_no_file_is_no_keys(path):
    assert keys_or_none(path).keys == ()
