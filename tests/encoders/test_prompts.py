from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from recoseg.encoders.prompts import PromptSet, embed_names, prompt_set
from recoseg.errors import RecosegError, UnknownNameError


class Texts:
    """Embeddings read off the text, of unequal lengths; counts what it is asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> torch.Tensor:
        self.asked += texts
        return torch.tensor([[len(t), t.count("a") + 1, t.count("d") * 3.0] for t in texts])


def test_published_ensemble():
    prompts = prompt_set("reco85")
    assert len(prompts.templates) == len(set(prompts.templates)) == 85
    assert all(template.count("{}") == 1 for template in prompts.templates)
    assert "there is a dog in the scene." in prompts.texts("dog")
    assert "a photo of the dog." in prompts.texts("dog")
    assert prompt_set("single").texts("dog") == ["a photo of a dog."]
    assert prompt_set("none").texts("{dog}") == ["{dog}"]


def test_order_of_normalisation():
    prompts = PromptSet("two", ("a {}", "the very long {} indeed"))
    first, second = Texts()(prompts.texts("dad"))
    mean = (first / first.norm() + second / second.norm()) / 2
    row = embed_names(Texts(), ["dad"], prompts)
    torch.testing.assert_close(row, (mean / mean.norm())[None])
    other_order = (first + second) / (first + second).norm()
    assert not torch.allclose(row[0], other_order, atol=1e-4)


def test_many_names_equal_each_alone():
    names = [f"d{'a' * i}" for i in range(37)]
    prompts = prompt_set("single")
    alone = torch.cat([embed_names(Texts(), [name], prompts) for name in names])
    torch.testing.assert_close(embed_names(Texts(), names, prompts), alone)


def test_each_name_is_embedded_once():
    texts = Texts()
    rows = embed_names(texts, ["dog", "cat", "dog"], prompt_set("single"))
    assert len(texts.asked) == 2
    assert torch.equal(rows[0], rows[2])
    assert torch.equal(rows[1:2], embed_names(Texts(), ["cat"], prompt_set("single")))


def test_template_files(tmp_path: Path):
    path = tmp_path / "mine.txt"
    path.write_text("# mine\na {} at night\n\n  the {}.  \n", encoding="utf-8")
    assert prompt_set(str(path)) == PromptSet("mine.txt", ("a {} at night", "the {}."))
    path.write_text("a {}\nnothing here\n")
    with pytest.raises(RecosegError, match=r"line 2: .*got 'nothing here'"):
        prompt_set(str(path))
    path.write_text("# nothing\n")
    with pytest.raises(RecosegError, match="contains no template"):
        prompt_set(str(path))
    with pytest.raises(
        UnknownNameError, match="Valid: reco85, short5, single, none, a file of templates"
    ):
        prompt_set("reco86")


def test_no_names():
    with pytest.raises(RecosegError, match="at least one name"):
        embed_names(Texts(), [], prompt_set("none"))


def test_lines_of_a_file_of_prompts_end_at_line_feeds_only(tmp_path):
    (tmp_path / "p.txt").write_bytes("a\u2028{}\r\n# no\x85{}\nthe {}\n".encode())
    assert prompt_set(str(tmp_path / "p.txt")).templates == ("a\u2028{}", "the {}")
    (tmp_path / "p.txt").write_bytes(b"\xff{}")
    with pytest.raises(RecosegError, match="not UTF-8"):
        prompt_set(str(tmp_path / "p.txt"))
