"""What is wrong with a command is said in one message, and nothing is written."""

import pytest

from tests.command import run


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("retrieve {}/gone dog", "gone"),
        ("learn {}/gone --classes {}/classes.txt --out {}/x.safetensors", "gone"),
        (
            "learn {}/index --classes {}/gone.txt --out {}/x.safetensors",
            "neither a file of classes nor a label space",
        ),
        (
            "learn {}/index --classes {}/classes.txt --out {}/x.safetensors -k 0",
            "k is 0",
        ),
        (
            "learn {}/index --classes {}/classes.txt --out {}/x.safetensors --preset a",
            "Unknown preset 'a'. Valid: lite, paper, paper-light",
        ),
        (
            "learn {}/index --classes {}/more.txt --out {}/x.safetensors --recipe a",
            "Unknown recipe 'a'. Valid: paper, regions",
        ),
        (
            "learn {}/index --classes {}/more.txt --out {}/x.safetensors --recipe paper "
            "--add-to {}/bank.safetensors",
            "--recipe would have no effect",
        ),
        (
            "segment {}/bank.safetensors {}/photos --out {}/x --recipe a",
            "Unknown recipe 'a'. Valid: paper, regions",
        ),
        (
            "segment {}/bank.safetensors {}/photos --out {}/x --phi-weight 1",
            "Expected a weight for each of the bank's 2 phi, in its order; got 1",
        ),
        (
            "segment {}/bank.safetensors {}/photos --out {}/x --text-weight 1e9",
            "text_weight is 1000000000.0; expected 1,000,000 or less",
        ),
        ("index {}/photos --out {}/x --preset nothing", "Unknown preset 'nothing'"),
        ("index {}/photos --out {}/x --retrieval best", "Unknown retrieval"),
        ("index {}/photos --out {}/x --device gpu", "Unknown device 'gpu'"),
        ("index {}/photos --out {}/x --precision int4", "Unknown precision"),
        ("index {}/photos --out {}/x --executor x", "Unknown executor 'x'"),
        ("index {}/empty --out {}/x", "No photos in"),
        ("index {}/gone --out {}/x", "gone"),
        ("inspect {}/gone", "No concept bank was found at"),
        ("inspect {}/classes.txt", "is a text file; if it is a list of classes"),
        ("forget {}/bank.safetensors cow", "no class cow. Its classes: dog, car"),
        (
            "forget {}/bank.safetensors dog car",
            "Without dog, car the bank has no",
        ),
        ("segment {}/gone {}/photos --out {}/x", "No concept bank was found at"),
        ("segment {}/bank.safetensors {}/empty --out {}/x", "No photos found"),
        (
            "segment {}/bank.safetensors {}/photos --out {}/x --fusion max",
            "Unknown fusion 'max'. Valid: product, sum, visual, text",
        ),
        (
            "segment {}/bank.safetensors {}/photos --out {}/x --background cow",
            "cow",
        ),
        (
            "segment {}/bank.safetensors {}/photos --out {}/x --phi lite1",
            "lite1",
        ),
    ],
    ids=lambda text: text.replace("{}/", ""),
)
def test_errors_are_one_message(session, arguments, message):
    (session / "empty").mkdir(exist_ok=True)
    result = run(*(word.replace("{}", str(session.root)) for word in arguments.split()))
    assert result.code in (1, 2)
    assert result.err.startswith("Error: ")
    assert message in result.err
    assert "Traceback" not in result.err + result.out
    assert not (session / "x").exists()
    assert not (session / "x.safetensors").exists()
