"""Folders for the Hugging Face hub: its own library reads the model card, and the download is an agent."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch as th

from snn_rl import UserError, load_agent, package
from snn_rl.exports import hub, markup
from snn_rl.store.card import Card, read
from snn_rl.store.files import data_folder

markdown = pytest.importorskip("markdown", reason="Markdown is not installed: pip install 'snn-rl[docs]'")
huggingface_hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed: pip install 'snn-rl[zoo]'")


def test_the_hub_reads_the_model_card(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "hub"
    assert package.main(["CartPoleNoVel-v1/T1", "--license", "mit", "--out", str(out)]) == 0
    assert "hf upload YOU/CartPoleNoVel-v1-T1" in capsys.readouterr().out
    card = huggingface_hub.ModelCard.load(out / "README.md")
    assert (card.data.library_name, card.data.license) == ("snn_rl", "mit")
    assert {"reinforcement-learning", "stable-baselines3", "CartPoleNoVel-v1"} <= set(card.data.tags)
    name, results = huggingface_hub.repocard_data.model_index_to_eval_results(
        huggingface_hub.metadata_load(out / "README.md")["model-index"]
    )
    assert name == "CartPoleNoVel-v1-T1"
    found = {(one.dataset_name, one.metric_type): one.metric_value for one in results}
    assert found["CartPoleNoVel-v1, greedy", "mean_reward"] == "496.86 +/- 31.24"
    assert found["CartPoleNoVel-v1, greedy", "energy_uj"] == pytest.approx(0.059043, rel=1e-4)
    assert "| greedy | 100 | 496.86 | 31.24 | 500.00 | [500.00, 500.00] | 186 .. 500 | 0.059 |" in card.text


@pytest.mark.parametrize("name", ["CartPole-v1/ann", "PongNoFrameskip-v4/T1-frames1"])
def test_the_download_is_the_agent(name: str, tmp_path: Path) -> None:
    out = tmp_path / "hub"
    package.main([name, "--out", str(out)])
    here, there = load_agent(name), load_agent(out)
    assert all(th.equal(*pair) for pair in zip(here.network.parameters(), there.network.parameters(), strict=True))
    assert there.scores == here.scores
    for file in ("card.json", "weights.safetensors", "episodes.csv"):
        assert (out / file).read_bytes() == (data_folder("agents") / name / file).read_bytes()
    assert huggingface_hub.ModelCard.load(out / "README.md").data.eval_results


def test_what_a_card_does_not_say_is_left_out() -> None:
    """And what it says is no YAML of its own."""
    whole, _ = read(data_folder("agents") / "CartPole-v1" / "T1")
    least = {**whole.to_json(), "made": {}, "env": 'Mine "v0" #é', "module": None}
    for score in least["scores"].values():
        score["energy"] = None
        score["env"] = least["env"]
    said = huggingface_hub.ModelCard(hub.text(Card.from_json(least), []))
    assert least["env"] in said.data.tags
    assert {one.metric_type for one in said.data.eval_results} == {"mean_reward"}
    assert said.data.license is None
    assert "nobody knows how" in said.text


PRINTABLE = "a <script>x</script> [b](https://evil) ![c](http://evil/d.png) `` ` `e` www.evil **f** | g: [h # \U0001f600"
PLACE = PRINTABLE.replace(":", "")  # ids of environments have none
HOSTILE = f"{PRINTABLE}\n---\ni: [j\n# k\u202e\x07"


def test_what_a_stranger_wrote_into_a_card_is_no_markup() -> None:
    """Each text of a card is hostile. On the page there is no link, picture, tag or heading of it."""
    whole, _ = read(data_folder("agents") / "CartPole-v1" / "T1")
    said = whole.to_json()
    said["made"] |= {"how": HOSTILE, "command": HOSTILE, "objective": HOSTILE, "versions": {"a": HOSTILE}}
    said["made"]["from"] = said["made"]["teacher"] = {"name": HOSTILE}
    said["made"]["training_seeds"] = {"all": [HOSTILE], "chosen by": HOSTILE}
    said["env"], said["module"], score = PLACE, None, next(iter(said["scores"].values()))
    score["env"], score["energy"]["technology"] = PLACE, HOSTILE
    said["scores"] = {"greedy | <b>": score}
    card = huggingface_hub.ModelCard(hub.text(Card.from_json(said), [], HOSTILE))
    assert PLACE in card.data.tags  # as it is, and nothing else of it
    assert card.data.license == f"{PRINTABLE} --- i: [j # k\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}"
    assert set(card.data.to_dict()) == {"library_name", "license", "pipeline_tag", "tags", "model-index"}
    page = markdown.markdown(card.text, extensions=["tables"])
    for mark in ("<script", "<a ", "<img", "<b>", "<strong", "<hr"):
        assert mark not in page, mark
    assert page.count("<h1") == 1
    assert page.count("<td") == 8  # of one row
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("trained from T2, objective distill", "trained from T2, objective distill"),
        ("runs/my_agent", "runs/my_agent"),
        ("_a_", "`_a_`"),
        ("see http://x", "`see http://x`"),
        ("a`b", "`` a`b ``"),
        ("", ""),
    ],
)
def test_text_is_code_only_where_it_would_be_markup(text: str, shown: str) -> None:
    assert markup.plain(text) == shown


def test_what_has_no_score_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "T1"
    shutil.copytree(data_folder("agents") / "CartPole-v1" / "T1", folder)
    card = json.loads((folder / "card.json").read_text()) | {"scores": {}}
    (folder / "card.json").write_text(json.dumps({key: card[key] for key in card.keys() - {"files", "sha256"}}))
    with pytest.raises(UserError, match=r"has no score to put into a model card: python -m snn_rl.evaluate .* --save"):
        package.main([str(folder), "--out", str(tmp_path / "hub")])
    with pytest.raises(UserError, match="exists already"):
        package.main(["CartPole-v1/T1", "--out", str(folder)])
    with pytest.raises(UserError, match="no agent 'CartPole-v1/T77'"):
        package.main(["CartPole-v1/T77", "--out", str(tmp_path / "hub")])
    assert not (tmp_path / "hub").exists()


def test_a_zip_is_sent_to_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        package.main(["dqn.zip", "--out", str(tmp_path / "hub")])
    assert "python -m snn_rl.evaluate dqn.zip --env ID --out DIR makes a folder of it" in capsys.readouterr().err
