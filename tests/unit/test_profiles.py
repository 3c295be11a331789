"""Device profiles: the built-in ones, a site's own folder, and what a wrong file is told."""

from pathlib import Path

import pytest

from orchestrator import profiles as profiles_package
from orchestrator.errors import ConfigurationError
from orchestrator.profiles import DEFAULT_PROFILE, Profile, load_profiles
from orchestrator.routing import RoutingPolicy
from orchestrator.vision.preprocessing import Recipe
from orchestrator.vision.quality import GENERAL_LIMITS, QualityLimits
from orchestrator.vision.stain import LabStatistics, MacenkoReference

VALID = """\
description = "A site's own camera."
tta = "none"
[preprocessing]
version = "v4"
crop_scale = 2
[preprocessing.reinhard]
mean = [180, 140.5, 115.0]
std = [40.0, 15.0, 10.0]
[preprocessing.macenko]
first_stain = [0.56, 0.72, 0.41]
second_stain = [0.22, 0.80, 0.56]
max_concentrations = [1.97, 1.03]
[routing]
mode = "aux"
temperature = 1.5
review_threshold = 0.7
review_margin = 0.1
"""


def write(folder: Path, text: str, name: str = "site.toml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def message_of(folder: Path) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_profiles(folder)
    return str(caught.value)


def test_the_built_in_profiles_are_a_default_and_one_per_device() -> None:
    assert {name: profile.device for name, profile in load_profiles().items()} == {
        "bccd": "known",
        "cellavision-dm96": "known",
        "chula": "known",
        "default": "unknown",
        "motic-tecom": "profiled",
        "painted": "known",
        "raabin": "known",
    }
    assert DEFAULT_PROFILE in load_profiles()


def test_every_built_in_profile_prepares_and_views_images_as_the_default_does() -> None:
    profiles = load_profiles()
    assert {(profile.recipe, profile.tta) for profile in profiles.values()} == {
        (profiles["default"].recipe, profiles["default"].tta)
    }


def test_the_folder_of_the_built_in_profiles_is_no_sites_own() -> None:
    assert load_profiles(Path(profiles_package.__file__).parent) == load_profiles()


def test_the_devices_that_trained_have_the_limits_that_were_found_on_them() -> None:
    profiles = load_profiles()
    known = [profiles[name].routing for name in ("bccd", "cellavision-dm96", "chula", "raabin")]
    assert all(routing == known[0] for routing in known)
    assert known[0].temperature < profiles["default"].routing.temperature


def test_the_devices_that_trained_alone_say_what_quality_is_usual_on_them() -> None:
    profiles = load_profiles()
    own = {name for name, profile in profiles.items() if profile.quality != GENERAL_LIMITS}
    assert own == {"bccd", "cellavision-dm96", "chula", "raabin"}
    assert all(profiles[name].quality.min_nucleus_density is not None for name in own)


@pytest.mark.parametrize("line", ["", 'device = "profiled"\n', 'device = "unknown"\n'])
def test_the_device_of_a_sites_own_profile_is_profiled_unless_it_says_that_it_is_unknown(
    tmp_path: Path, line: str
) -> None:
    profile = load_profiles(write(tmp_path, line + VALID))["site"]
    assert profile.device == ("unknown" if "unknown" in line else "profiled")


@pytest.mark.parametrize("name", ["site.toml", "raabin.toml"])
def test_no_profile_of_a_sites_own_says_that_the_model_knows_its_device(tmp_path: Path, name: str) -> None:
    message = message_of(write(tmp_path, 'device = "known"\n' + VALID, name))
    assert message.startswith(f"profile {name}, device: expected unknown or profiled")
    assert "received 'known'" in message


def test_no_profile_says_that_an_audit_passed(tmp_path: Path) -> None:
    assert "'audited'" in message_of(write(tmp_path, 'device = "audited"\n' + VALID))


def test_a_sites_own_profile_under_a_built_in_name_is_of_a_device_that_the_model_does_not_know(
    tmp_path: Path,
) -> None:
    assert load_profiles(write(tmp_path, VALID, "raabin.toml"))["raabin"].device == "profiled"


@pytest.mark.parametrize("name", sorted(load_profiles()))
def test_a_built_in_profile_is_complete_and_decides_among_all_classes(name: str) -> None:
    profile = load_profiles()[name]
    assert profile.name == name
    assert profile.description.endswith(".")
    assert profile.routing.mode == "none"  # which classes can occur is a site's knowledge, not a device's


def test_a_site_file_is_read_in_full(tmp_path: Path) -> None:
    assert load_profiles(write(tmp_path, VALID))["site"] == Profile(
        name="site",
        description="A site's own camera.",
        recipe=Recipe(
            crop_scale=2.0,
            reinhard=LabStatistics((180.0, 140.5, 115.0), (40.0, 15.0, 10.0)),
            mef_version="v4",
            macenko=MacenkoReference((0.56, 0.72, 0.41), (0.22, 0.80, 0.56), (1.97, 1.03)),
        ),
        tta="none",
        routing=RoutingPolicy("aux", temperature=1.5, review_threshold=0.7, review_margin=0.1),
    )


def test_a_site_folder_adds_to_the_built_in_profiles(tmp_path: Path) -> None:
    profiles = load_profiles(write(tmp_path, VALID))
    assert set(profiles) == {*load_profiles(), "site"}
    assert list(profiles) == sorted(profiles)


def test_a_site_file_overrides_the_built_in_profile_of_its_name(tmp_path: Path) -> None:
    profiles = load_profiles(write(tmp_path, VALID, "default.toml"))
    assert profiles["default"].description == "A site's own camera."
    assert profiles["raabin"] == load_profiles()["raabin"]


def test_other_files_in_a_site_folder_are_left_alone(tmp_path: Path) -> None:
    write(tmp_path, "not TOML at all", "README.md")
    assert load_profiles(tmp_path) == load_profiles()


def test_profiles_cannot_be_changed_after_loading() -> None:
    with pytest.raises(TypeError):
        load_profiles()["default"] = load_profiles()["raabin"]  # type: ignore[index]


def test_optional_keys_have_the_defaults_of_the_policy(tmp_path: Path) -> None:
    text = VALID.replace("temperature = 1.5\n", "").replace("review_margin = 0.1\n", "")
    assert load_profiles(write(tmp_path, text))["site"].routing == RoutingPolicy("aux", review_threshold=0.7)


def test_the_margin_of_adaptive_augmentation_is_read_and_by_default_hardly_ever_reached(
    tmp_path: Path,
) -> None:
    assert load_profiles(write(tmp_path, VALID))["site"].adaptive_margin == 1.0
    text = VALID.replace('tta = "none"', 'tta = "adaptive"\nadaptive_margin = 0.4')
    profile = load_profiles(write(tmp_path, text))["site"]
    assert (profile.tta, profile.adaptive_margin) == ("adaptive", 0.4)


def test_the_scale_of_whole_fields_is_read_and_decides_only_where_it_is_said(tmp_path: Path) -> None:
    without = load_profiles(write(tmp_path, VALID))["site"]
    text = VALID.replace('tta = "none"', 'tta = "none"\nred_cell_px = 61.5')
    with_scale = load_profiles(write(tmp_path, text))["site"]

    assert (without.red_cell_px, with_scale.red_cell_px) == (None, 61.5)
    assert with_scale.sha256 != without.sha256
    write(tmp_path, text.replace("61.5", "7"))
    assert "red_cell_px: expected" in message_of(tmp_path)


def test_micrometres_per_pixel_are_read_and_decide_nothing(tmp_path: Path) -> None:
    without = load_profiles(write(tmp_path, VALID))["site"]
    text = VALID.replace('tta = "none"', 'tta = "none"\num_per_px = 0.1')
    with_scale = load_profiles(write(tmp_path, text))["site"]

    assert (without.um_per_px, with_scale.um_per_px) == (None, 0.1)
    assert with_scale.sha256 == without.sha256
    write(tmp_path, text.replace("0.1", "100"))
    assert "um_per_px: expected" in message_of(tmp_path)


def test_an_energy_limit_and_the_shares_of_the_classes_are_read(tmp_path: Path) -> None:
    text = VALID.replace(
        'mode = "aux"',
        'mode = "prior"\nmax_energy = -4\nprior = [0.01, 0.03, 0.3, 0.06, 0.6]\n'
        "training_prior = [0.2, 0.2, 0.2, 0.2, 0.2]",
    )
    routing = load_profiles(write(tmp_path, text))["site"].routing
    assert routing.max_energy == -4.0
    assert routing.prior == (0.01, 0.03, 0.3, 0.06, 0.6)
    assert routing.training_prior == (0.2,) * 5


def test_what_quality_is_usual_is_read_and_what_is_not_said_is_general(tmp_path: Path) -> None:
    assert load_profiles(write(tmp_path, VALID))["site"].quality == GENERAL_LIMITS
    text = VALID + "[quality]\nmin_background = 0.4\nmin_nucleus_density = 0.5\nmin_nucleus_hue = 0.6\n"
    assert load_profiles(write(tmp_path, text))["site"].quality == QualityLimits(
        GENERAL_LIMITS.min_sharpness, 0.4, 0.5, 0.6
    )


def test_the_density_of_nuclei_says_nothing_without_their_hue(tmp_path: Path) -> None:
    message = message_of(write(tmp_path, VALID + "[quality]\nmin_nucleus_density = 0.5\n"))
    assert "quality: expected min_nucleus_density and min_nucleus_hue together" in message


def test_the_limits_of_quality_decide_and_so_are_part_of_the_hash(tmp_path: Path) -> None:
    plain = load_profiles(write(tmp_path, VALID))["site"]
    strict = load_profiles(write(tmp_path, VALID + "[quality]\nmin_sharpness = 0.5\n"))["site"]
    assert plain.sha256 != strict.sha256


def test_the_whole_frame_is_asked_for_by_name(tmp_path: Path) -> None:
    text = VALID.replace("crop_scale = 2", 'crop_scale = "whole-frame"')
    assert load_profiles(write(tmp_path, text))["site"].recipe.crop_scale is None


@pytest.mark.parametrize(
    ("old", "new", "key", "expected", "received"),
    [
        ('tta = "none"', 'tta = "heavy"', "tta", "'none', 'light' or 'adaptive'", "'heavy'"),
        ('tta = "none"', 'tta = "none"\nttta = 1', "ttta", "no such key", "1"),
        (
            'tta = "none"',
            'tta = "none"\nadaptive_margin = 33',
            "adaptive_margin",
            "less than or equal to 1",
            "33",
        ),
        ('description = "A site\'s own camera."', "", "description", "a value", "none"),
        ('description = "A site\'s own camera."', 'description = ""', "description", "at least 1 char", "''"),
        ('version = "v4"', 'version = "v7"', "preprocessing.version", "'v5'", "'v7'"),
        ('version = "v4"', 'version = "v1"', "preprocessing.macenko", 'version = "v4"', "first_stain"),
        ("crop_scale = 2", "", "preprocessing.crop_scale", "a value", "none"),
        ("crop_scale = 2", "crop_scale = 0", "preprocessing.crop_scale", "from 0.5 to 10", "0"),
        ("crop_scale = 2", "crop_scale = nan", "preprocessing.crop_scale", "from 0.5 to 10", "nan"),
        ("crop_scale = 2", "crop_scale = true", "preprocessing.crop_scale", "from 0.5 to 10", "True"),
        ("crop_scale = 2", 'crop_scale = "1.4"', "preprocessing.crop_scale", "whole-frame", "'1.4'"),
        ("mean = [180,", "mean = [280,", "preprocessing.reinhard.mean.0", "less than or equal to 255", "280"),
        ("mean = [180,", "mean = [180, 1,", "preprocessing.reinhard.mean", "at most 3 items", "180"),
        ("std = [40.0,", "std = [0.0,", "preprocessing.reinhard.std.0", "greater than 0", "0.0"),
        ("mean = [180, 140.5, 115.0]", "", "preprocessing.reinhard.mean", "a value", "none"),
        ("[0.56, 0.72, 0.41]", "[0.9, 0.9, 0.9]", "preprocessing.macenko.first_stain", "length 1", "0.9"),
        ('mode = "aux"', 'mode = "best"', "routing.mode", "'none', 'main', 'aux' or 'prior'", "'best'"),
        ("temperature = 1.5", "temperature = 0", "routing.temperature", "over 0", "0"),
        ("temperature = 1.5", "temperature = true", "routing.temperature", "valid number", "True"),
        ("temperature = 1.5", "temperature = inf", "routing.temperature", "finite", "inf"),
        ("review_threshold = 0.7", 'review_threshold = "0.7"', "routing.review_threshold", "number", "'0.7'"),
        ("review_threshold = 0.7", "review_threshold = 70", "routing.review_threshold", "from 0 to 1", "70"),
        ("review_threshold = 0.7", "review_treshold = 0.7", "routing.review_threshold", "a value", "none"),
        ("review_margin = 0.1", "review_margin = -0.1", "routing.review_margin", "from 0 to 1", "-0.1"),
        ("review_margin = 0.1", "max_energy = inf", "routing.max_energy", "finite", "inf"),
        ("review_margin = 0.1", 'max_energy = "low"', "routing.max_energy", "valid number", "'low'"),
        (
            "review_margin = 0.1",
            "prior = [0.2, 0.2, 0.2, 0.2, 0.2]",
            "routing.prior",
            'mode = "prior"',
            "0.2",
        ),
        ('mode = "aux"', 'mode = "prior"', "routing.prior", "a value", "none"),
        (
            'mode = "aux"',
            'mode = "prior"\nprior = [0.2, 0.2, 0.2, 0.2, 0.3]\ntraining_prior = [0.2, 0.2, 0.2, 0.2, 0.2]',
            "routing.prior",
            "5 numbers over 0 that sum to 1",
            "0.3",
        ),
        (
            'mode = "aux"',
            'mode = "prior"\nprior = [0.2, 0.2, 0.2, 0.2, 0.2]\ntraining_prior = [0.5, 0.5]',
            "routing.training_prior",
            "5 numbers over 0 that sum to 1",
            "0.5",
        ),
    ],
)
def test_a_wrong_value_is_named_with_file_key_expected_and_received(
    tmp_path: Path, old: str, new: str, key: str, expected: str, received: str
) -> None:
    assert old in VALID
    message = message_of(write(tmp_path, VALID.replace(old, new, 1)))
    assert message.startswith("profile site.toml, ")
    assert f"{key}: expected" in message
    assert expected in message
    assert received in message[message.index("received") :]
    assert str(tmp_path) not in message


def test_a_misspelt_key_is_reported_as_missing_and_as_unknown(tmp_path: Path) -> None:
    message = message_of(write(tmp_path, VALID.replace("review_threshold", "review_treshold")))
    assert "routing.review_threshold: expected a value" in message
    assert "routing.review_treshold: expected no such key" in message


def test_a_missing_table_is_named(tmp_path: Path) -> None:
    assert "routing: expected a value" in message_of(write(tmp_path, VALID[: VALID.index("[routing]")]))


def test_broken_toml_is_named_by_file(tmp_path: Path) -> None:
    message = message_of(write(tmp_path, "tta = light\n"))
    assert message.startswith("profile site.toml: expected TOML")
    assert "line 1" in message


def test_a_file_in_another_encoding_is_named(tmp_path: Path) -> None:
    (tmp_path / "site.toml").write_bytes("description = 'Grünwald'".encode("latin-1"))
    assert message_of(tmp_path).startswith("profile site.toml: expected TOML in UTF-8")


def test_a_folder_that_looks_like_a_profile_is_named(tmp_path: Path) -> None:
    (tmp_path / "site.toml").mkdir()
    assert message_of(tmp_path).startswith("profile site.toml: cannot be read")


@pytest.mark.parametrize("name", ["Site.toml", "my site.toml", "-site.toml", "a--b.toml", ".toml"])
def test_a_file_name_that_is_no_profile_name_is_refused(tmp_path: Path, name: str) -> None:
    assert "lower-case letters" in message_of(write(tmp_path, VALID, name))


def test_a_missing_site_folder_is_refused_by_its_base_name(tmp_path: Path) -> None:
    message = message_of(tmp_path / "absent")
    assert "'absent'" in message
    assert str(tmp_path) not in message


def test_long_values_are_shortened_in_messages(tmp_path: Path) -> None:
    text = VALID.replace("A site's own camera.", "x" * 5000)
    assert len(message_of(write(tmp_path, text))) < 200


def test_the_first_wrong_file_in_alphabetical_order_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "b = 1", "b.toml")
    write(tmp_path, "a = 1", "a.toml")
    assert message_of(tmp_path).startswith("profile a.toml, ")


@pytest.mark.parametrize(
    ("was", "becomes"),
    [("review_threshold = 0.7", "review_threshold = 0.71"), ('tta = "none"', 'tta = "light"')],
)
def test_the_hash_of_a_profile_changes_with_what_decides_and_with_nothing_else(
    tmp_path: Path, was: str, becomes: str
) -> None:
    assert was in VALID
    write(tmp_path, VALID, "one.toml")
    write(tmp_path, VALID.replace("A site's own camera.", "Another word for it."), "two.toml")
    write(tmp_path, VALID.replace(was, becomes), "three.toml")
    one, two, three = (load_profiles(tmp_path)[name].sha256 for name in ("one", "two", "three"))
    assert one == two
    assert one != three
