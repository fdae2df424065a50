from analysis import families
from vicrop.adapters.facts import Facts


def test_facts_are_those_that_families_say():
    rows = {row["fact"]: row for row in families.facts()}
    assert rows["words"]["families"] == rows["fit"]["families"] == "every family"
    assert rows["positions"]["families"] == "qwen2.5-vl"
    assert "idefics3" in rows["picture"]["families"].split(", ")
    assert rows["see"]["says"].startswith("Run the vision tower")
    assert set(rows) <= set(dir(Facts))
