"""The audit plan against the figures of the notes (section 2.3) and against counting by hand."""

import pytest

from flywheel.corrections.audit import chance_of_acceptance, draw, operating_curve, sample_size


@pytest.mark.parametrize(
    ("lot", "share", "expected"), [(100, 0.05, 37), (100, 0.1, 20), (200, 0.05, 41), (50, 0.1, 18), (500, 0.1, 22)]
)
def test_sample_sizes_are_those_of_the_hypergeometric_plan(lot: int, share: float, expected: int):
    assert sample_size(lot, defective_share=share) == expected


def test_chances_of_a_lot_of_four():
    assert chance_of_acceptance(4, 1, 2) == pytest.approx(0.5)
    assert (
        chance_of_acceptance(4, 0, 4) == 1 and chance_of_acceptance(4, 1, 4) == 0 and chance_of_acceptance(4, 4, 0) == 1
    )


def test_the_curve_falls_and_the_draw_is_seeded_by_the_lot():
    curve = list(operating_curve(100, 20).values())
    assert curve == sorted(curve, reverse=True)
    items = [f"i{n}" for n in range(50)]
    assert draw(items, 18, lot_id="a") == draw(items[::-1], 18, lot_id="a") != draw(items, 18, lot_id="b")
    assert sample_size(0) == 0 and sample_size(3) == 3
