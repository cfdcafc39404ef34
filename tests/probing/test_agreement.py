import pytest

from spacy_rnn.probing.agreement import Item, measure, read_items

from ..layers.test_lm import make_scorer


@pytest.mark.parametrize("softmax", ["adaptive", "tied"])
def test_agreement_asks_which_form_is_likelier(softmax):
    scorer = make_scorer(softmax)
    items = [
        Item("singular", ["the", "cat"], "is", "are"),
        Item("plural", ["the", "cats"], "are", "is"),
        Item("plural", ["the", "cat"], "are", "is"),
        Item("plural", ["the", "cats"], "are", "were"),
    ]
    results = measure(scorer, items)
    logs = scorer.compare([["the", "cat"], ["the", "cats"]], [["is", "are"]] * 2)
    (a, b), (c, d) = logs
    assert vars(results["singular"]) == {"n_correct": int(a > b), "n_items": 1, "n_skipped": 0}
    assert vars(results["plural"]) == {
        "n_correct": int(d > c) + int(b > a),
        "n_items": 2,
        "n_skipped": 1,
    }
    assert results["singular"].accuracy in (0.0, 1.0)


def test_agreement_data_are_read(tmp_path):
    tasks = tmp_path / "NA_tasks"
    tasks.mkdir()
    rows = ["the cat is\tsingular\tcorrect\tid1", "the cat are\tsingular\twrong\tid1"]
    (tasks / "simple.txt").write_text("\n".join(rows))
    (tasks / "readme.md").write_text("no data")
    english = tmp_path / "agreement" / "English"
    english.mkdir(parents=True)
    header = "pattern\tconstr_id\tsent_id\tcorrect_number\tform\tclass\ttype\tprefix\tsent"
    (english / "generated.tab").write_text(
        f"{header}\np\t1\t2\tsing\tis\tcorrect\tgenerated\tthe old cat\tx\n"
        "p\t1\t2\tsing\tare\twrong\tgenerated\tthe old cat\tx\n"
    )
    linzen = tmp_path / "linzen_testset"
    linzen.mkdir()
    (linzen / "subj_agr_filtered.text").write_text("the cats are here\nthe cat is here\n")
    (linzen / "subj_agr_filtered.gold").write_text("2\tare\tis\t0\n2\tis\tare\t0\n")
    (linzen / "lines_found_in_texts.txt").write_text("2\n")
    assert read_items(tmp_path) == {
        "simple": [Item("singular", ["the", "cat"], "is", "are")],
        "colorless green, English": [Item("nonce", ["the", "old", "cat"], "is", "are")],
        "Linzen": [Item("0 attractors", ["the", "cats"], "are", "is")],
    }
    (tasks / "simple.txt").write_text("\n".join([rows[0], "a dog are\tsingular\twrong\tid1"]))
    with pytest.raises(ValueError, match="no pair"):
        read_items(tasks / "simple.txt")
    (tasks / "simple.txt").write_text("the cat is\tsingular")
    with pytest.raises(ValueError, match="line 1"):
        read_items(tasks)
    (tmp_path / "nothing").mkdir()
    with pytest.raises(ValueError, match="no number agreement data"):
        read_items(tmp_path / "nothing")
