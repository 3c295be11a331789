"""What two builds come to beside each other; their processes are not started here."""

from loadtests.compare_builds import Figure


def test_the_ratio_is_of_each_round_and_its_median_is_judged():
    faster = Figure("light", "requests/s", (10.0, 20.0, 5.0), (40.0, 90.0, 15.0), 4.0, at_least=True)
    assert faster.ratios == [4.0, 4.5, 3.0]
    assert faster.met
    assert faster.row()[3:] == ("4.00x (3.00 to 4.50)", "at least 4x", "met")


def test_what_is_to_be_less_is_missed_by_more():
    assert Figure("p50", "ms", (100.0,), (35.0,), 0.35).met
    slower = Figure("p50", "ms", (100.0, 100.0, 100.0), (30.0, 36.0, 40.0), 0.35)
    assert not slower.met
    assert slower.row()[-1] == "missed"
