"""System prompts: one that changes every day is one prompt, two agents' prompts are two."""

from flywheel.operations.pack_draft.prompt import families, varying

SHOP = "You keep the orders of a small shop. Never promise a refund. Always look an order up before you change it. Today is {}."
HOTEL = "You are the night porter of a hotel by the sea and wake the guests at the hour that they asked for, kindly, by telephone."


def test_a_date_that_changes_every_day_is_one_prompt_with_a_varying_part():
    prompts = [SHOP.format(f"2026-01-{day:02d}") for day in range(1, 29)] + [SHOP.format("2026-01-28")]
    groups, of = families(prompts)
    assert len(groups) == 1 and set(of.values()) == {0}
    assert groups[0].usual == SHOP.format("2026-01-28")
    assert varying(groups[0])[0].startswith("'2026-01-28.' -> '2026-01-")


def test_two_agents_have_two_prompts_and_the_more_frequent_comes_first():
    groups, of = families([HOTEL, *[SHOP.format(day) for day in ("Monday", "Tuesday", "Monday")]])
    assert [group.counts.total() for group in groups] == [3, 1]
    assert groups[0].usual == SHOP.format("Monday") and of[HOTEL] == 1
    assert varying(groups[1]) == []


def test_no_prompt_at_all_is_a_prompt_of_its_own():
    groups, _ = families(["", "", SHOP])
    assert groups[0].usual == "" and len(groups) == 2
