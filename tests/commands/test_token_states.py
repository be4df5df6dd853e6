"""`embed --tokens` and `prompts tokens`: the states of open_clip's and of transformers' own forward passes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from run import assert_one_error, run
from safetensors import safe_open
from safetensors.numpy import load_file

TEXTS = ("a photo of a dog", "two cats on a red sofa, in the rain")
LONG = " ".join(["word"] * 200)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A model of OpenAI's kind, with QuickGELU, as Stable Diffusion 1 has it."""
    import small_models

    return small_models.save("quickgelu", tmp_path_factory.mktemp("quick"))


@pytest.fixture
def embed(tmp_path: Path):
    def call(model: str, *arguments: str, texts: tuple[str, ...] = TEXTS, code: int = 0) -> dict[str, np.ndarray]:
        asked = [word for text in texts for word in ("--text", text)]
        target = tmp_path / "prompts.safetensors"
        result = run("embed", *asked, "--tokens", "-o", target, "-m", model, *arguments)
        assert result.code == code, result.stderr
        return load_file(target)

    return call


def loaded(model: str) -> torch.nn.Module:
    made = open_clip.create_model(model, pretrained_text=False)
    open_clip.load_checkpoint(made, Path(model.removeprefix("local-dir:")) / "open_clip_model.safetensors")
    return made.eval()


@pytest.mark.thorough
@pytest.mark.parametrize("layer", [-1, -2])
@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("kind", ["random_model", "quick"])
def test_states_are_those_of_open_clip(embed, request, kind: str, *, layer: int, norm: bool):
    spec = request.getfixturevalue(kind)
    found = embed(spec, "--layer", str(layer), *(() if norm else ("--no-final-norm",)))
    model, ids = loaded(spec), open_clip.SimpleTokenizer()(list(TEXTS))
    np.testing.assert_array_equal(found["ids"], ids)
    with torch.no_grad():
        hidden = model.token_embedding(ids) + model.positional_embedding
        for block in list(model.transformer.resblocks)[: layer + 1 or None]:
            hidden = block(hidden, attn_mask=model.attn_mask)
        hidden = model.ln_final(hidden) if norm else hidden
        np.testing.assert_allclose(found["states"], hidden, atol=1e-5)
        np.testing.assert_allclose(found["pooled"], model.encode_text(ids), atol=1e-5)
    assert found["mask"].sum(axis=1).tolist() == [7, 12]
    assert found["text"].tolist() == [0, 1]


def test_states_are_those_of_transformers(embed, quick: str):
    """The weights of one small tower in both libraries: last layer, and the one before it without the norm."""
    from transformers import CLIPTextConfig, CLIPTextModel

    model = loaded(quick)
    config = CLIPTextConfig(
        vocab_size=49408, hidden_size=32, intermediate_size=128, num_hidden_layers=2, num_attention_heads=2,
        max_position_embeddings=77, hidden_act="quick_gelu", eos_token_id=49407, bos_token_id=49406,
    )  # fmt: skip
    theirs = CLIPTextModel(config).eval()
    state = renamed(model.state_dict())
    if "final_layer_norm.weight" in theirs.state_dict():  # newer releases name the parts without a root
        state = {name.removeprefix("text_model."): value for name, value in state.items()}
    missing = theirs.load_state_dict(state, strict=False).missing_keys
    assert not [name for name in missing if "position_ids" not in name]
    last, before = embed(quick, "--pad-with-end"), embed(quick, "--pad-with-end", "--layer", "-2", "--no-final-norm")
    with torch.no_grad():
        output = theirs(input_ids=torch.from_numpy(last["ids"]), output_hidden_states=True)
    np.testing.assert_allclose(last["states"], output.last_hidden_state, atol=1e-5)
    np.testing.assert_allclose(before["states"], output.hidden_states[-2], atol=1e-5)
    with torch.no_grad():
        np.testing.assert_allclose(last["pooled"], output.pooler_output @ model.text_projection, atol=1e-5)


def renamed(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """A text tower of open_clip under the names that transformers has for its parts."""
    root = "text_model."
    made = {
        f"{root}embeddings.token_embedding.weight": state["token_embedding.weight"],
        f"{root}embeddings.position_embedding.weight": state["positional_embedding"],
        f"{root}final_layer_norm.weight": state["ln_final.weight"],
        f"{root}final_layer_norm.bias": state["ln_final.bias"],
    }
    for number in range(2):
        ours, other = f"transformer.resblocks.{number}.", f"{root}encoder.layers.{number}."
        for end in ("weight", "bias"):
            for name, part in zip("qkv", state[f"{ours}attn.in_proj_{end}"].chunk(3), strict=True):
                made[f"{other}self_attn.{name}_proj.{end}"] = part
            pairs = {"self_attn.out_proj": "attn.out_proj", "layer_norm1": "ln_1", "layer_norm2": "ln_2",
                     "mlp.fc1": "mlp.c_fc", "mlp.fc2": "mlp.c_proj"}  # fmt: skip
            made |= {f"{other}{name}.{end}": state[f"{ours}{part}.{end}"] for name, part in pairs.items()}
    return made


def test_long_texts_are_cut_or_read_in_chunks(embed, random_model: str, tmp_path: Path):
    cut = embed(random_model, texts=(LONG, "a dog"))
    assert cut["ids"].shape == (2, 77)
    assert cut["ids"][0, -1] == 49407
    whole = embed(random_model, "--chunks", texts=(LONG, "a dog"))
    assert whole["text"].tolist() == [0, 0, 0, 1]
    assert whole["mask"].sum(axis=1).tolist() == [77, 77, 52, 4]
    np.testing.assert_allclose(whole["states"][0], cut["states"][0], atol=1e-6)
    used = whole["mask"].sum(axis=1, dtype=np.int64) - 2
    assert used[:3].sum() == 200
    with safe_open(tmp_path / "prompts.safetensors", framework="numpy") as file:
        record = json.loads(file.metadata()["clipcli"])
    assert (record["texts"], record["layer"]) == ([LONG, "a dog"], -1)


def test_a_cut_is_said(random_model: str, tmp_path: Path):
    result = run("embed", "--text", LONG, "--tokens", "-o", tmp_path / "x.safetensors", "-m", random_model)
    assert "1 texts are cut (125 tokens at most)" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "words", "code"),
    [(("--layer", "-9"), "2 layers", 2), (("-o", "x.npy"), "writes safetensors", 2), (("-m", "tiny"), "tiny", 2),
     (("--shard", "1/2"), "--shard", 2), (("--prompts", "photo"), "--prompts", 2)],
)  # fmt: skip
def test_what_does_not_go_is_said(random_model: str, tmp_path: Path, *, arguments, words: str, code: int):
    given = ("--text", "a dog", "--tokens", "-o", str(tmp_path / "x.safetensors"), "-m", random_model, *arguments)
    result = run("embed", *given)
    assert (result.code, words in result.stderr) == (code, True), result.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_tower_without_states_is_refused(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path):
    import small_models

    model = small_models.save("coca", tmp_path_factory.mktemp("coca"))
    result = run("embed", "--text", "a dog", "--tokens", "-o", tmp_path / "x.safetensors", "-m", model)
    assert_one_error(result, "gives no states by token", code=5)


@pytest.mark.parametrize("option", ["--layer=-2", "--no-final-norm", "--pad-with-end", "--chunks"])
def test_options_of_states_need_tokens(option: str, tmp_path: Path):
    result = run("embed", "--text", "a dog", option, "-o", tmp_path / "x.npy", "-m", "tiny")
    assert_one_error(result, f"{option.partition('=')[0]} is for --tokens", code=2)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--dry-run", "--ray=local", "--keep=sku", "--where=price < 5"])
def test_options_that_do_not_go_with_tokens_are_refused(option: str, tmp_path: Path):
    result = run("embed", "--text", "a dog", "--tokens", option, "-o", tmp_path / "x.safetensors", "-m", "tiny")
    assert_one_error(result, f"--tokens and {option.partition('=')[0]} do not go together", code=2)


def test_tokens_are_shown_with_the_cut():
    rows = run("prompts", "tokens", "a photo of a dog", "--format", "jsonl").rows
    assert [row["token"].strip() for row in rows] == ["a", "photo", "of", "a", "dog"]
    assert [row["id"] for row in rows] == open_clip.SimpleTokenizer()("a photo of a dog")[0][1:6].tolist()
    result = run("prompts", "tokens", LONG, "--format", "jsonl")
    assert sum(row["kept"] for row in result.rows) == 75
    assert "202 tokens with start and end, the last 125 are cut" in result.stderr
    assert not run("prompts", "tokens", "a dog", "--context", "3", "--format", "jsonl").rows[1]["kept"]
