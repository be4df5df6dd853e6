"""Load tokenizers and text towers in Hugging Face's format. Only this module lets `transformers` read files.

`transformers` can run code from a repository (`auto_map`), or ask for permission on stdin; its configs name classes,
files and repositories. So it never gets a model's files directly. This module creates a private folder with the files
whose names are known, and with configs that keep only known keys. That folder is read without the network and with
`trust_remote_code=False`.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from open_clip.hf_configs import arch_dict
from open_clip.tokenizer import HFTokenizer, SimpleTokenizer

from clipcli.engines.detector_files import DETECTOR_CONFIG, DETECTOR_WEIGHTS, DETECTORS
from clipcli.engines.model_config import (
    SPECIAL_TOKENS,
    TOKENIZER_CONFIG,
    TOKENIZER_DATA,
    check_numbers,
    read_json,
    tokenizer_files,
    tokenizer_options,
)
from clipcli.errors import ModelError
from clipcli.hub.local_files import CONFIG

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from clipcli.engines.checkpoint import ModelFiles
    from clipcli.engines.detector_files import DetectorFiles

_KNOWN_KINDS: Final = "use a tokenizer class of published models, such as T5Tokenizer"
_FAMILIES: Final = (
    "Albert", "Bart", "Bert", "CLIP", "Camembert", "DebertaV2", "DistilBert", "Electra", "GPT2", "Gemma", "Llama",
    "M2M100", "MBart", "MPNet", "MT5", "Nllb", "Roberta", "Siglip", "Siglip2", "T5", "XLMRoberta",
)  # fmt: skip
_CLASSES: Final = frozenset(
    [f"{family}Tokenizer{kind}" for family in _FAMILIES for kind in ("", "Fast")]
    + ["PreTrainedTokenizer", "PreTrainedTokenizerFast", "TokenizersBackend"]
)
"""Tokenizer classes that read only the files named in `model_config`."""
_MODES: Final = (None, "", "clips")
_NOT_OF_A_CONFIG: Final = frozenset(
    ["backbone", "backbone_kwargs", "dtype", "torch_dtype", "attn_implementation", "quantization_config"]
)
"""Keys of a detection model's config that choose files, code or number formats."""
_PIXEL_KEYS: Final = (
    "do_resize", "size", "resample", "do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std",
    "do_pad", "do_center_crop", "crop_size",
)  # fmt: skip
_LARGEST_EDGE: Final = 8192
"""Limit in pixels of the size to which a picture is resized."""
_DAMAGED: Final = "the config is damaged"
_FILE_KEYS: Final = ("_file", "_files", "_path", "_name", "_map")
"""Endings of keys with which a tokenizer's config may refer to another file."""


@dataclass(frozen=True)
class LoadedDetector:
    """A detection model, and the preparation of its inputs."""

    model: Any
    """In eval mode, fp32, on the CPU."""
    pixels: Any
    """The image processor: Pillow images → tensors."""
    tokenizer: Any


def load_tokenizer(source: ModelFiles) -> Any:
    """Return CLIP's byte-pair tokenizer, or the Hugging Face tokenizer of a folder, as open_clip creates them.

    Raises:
        ModelError: the tokenizer names code, or its class is unknown.
    """
    options = tokenizer_options(source.config, source.name)
    if source.tokenizer_folder is None:
        if options:
            return SimpleTokenizer(context_length=source.context_length, **options)
        return _byte_pair_tokenizer(source.context_length)
    mode = source.config.get("text_cfg", {}).get("tokenizer_mode")
    if mode not in _MODES:
        raise ModelError(f"{source.name}: tokenizer_mode cannot be {mode!r}", hint="the config is damaged")
    with _tokenizer_files(Path(source.tokenizer_folder)) as folder:
        return HFTokenizer(
            str(folder),
            source.context_length,
            tokenizer_mode=mode,
            trust_remote_code=False,
            local_files_only=True,
            **options,
        )


@cache
def _byte_pair_tokenizer(context_length: int) -> Any:
    """Return CLIP's tokenizer, cached because reading its vocabulary is slow."""
    return SimpleTokenizer(context_length=context_length)


@contextmanager
def architecture_folder(source: ModelFiles) -> Iterator[str]:
    """Yield `local-dir:FOLDER` with checked configs, from which `open_clip.create_model` builds a model.

    Raises:
        ModelError: open_clip does not know the kind of the text tower.
    """
    with tempfile.TemporaryDirectory(prefix="clipcli-model-") as folder:
        config = json.loads(json.dumps(source.config))
        if source.text_tower_config is not None:
            tower = Path(folder) / "text"
            tower.mkdir()
            _write(tower / "config.json", _text_tower_config(source.text_tower_config))
            config["text_cfg"]["hf_model_name"] = str(tower)
        _write(Path(folder) / CONFIG, {"model_cfg": config})
        yield f"local-dir:{folder}"


@contextmanager
def _tokenizer_files(source: Path) -> Iterator[Path]:
    """Yield a private folder with a tokenizer's data files and its checked configs."""
    with tempfile.TemporaryDirectory(prefix="clipcli-tokenizer-") as name:
        folder = Path(name)
        for path in tokenizer_files(source):
            if path.name in TOKENIZER_DATA:
                _link(path.resolve(), folder / path.name)
            else:
                _write(folder / path.name, _checked(path))
        yield folder


def _checked(path: Path) -> dict[str, Any]:
    """Return the allowed keys of a tokenizer's config. Raises ModelError if it names code or an unknown class."""
    config = read_json(path)
    if path.name == SPECIAL_TOKENS:
        return {key: value for key, value in config.items() if key.endswith(("_token", "_tokens"))}
    class_name = config.get("tokenizer_class")
    if class_name is not None and class_name not in _CLASSES:
        raise ModelError(f"{path}: unknown kind of tokenizer {str(class_name)[:80]!r}", hint=_KNOWN_KINDS)
    if path.name == TOKENIZER_CONFIG:
        return _without_files(config)
    if class_name is None and (kind := config.get("model_type")) is not None and not _is_known(str(kind)):
        raise ModelError(f"{path}: unknown kind of tokenizer {str(kind)[:80]!r}", hint=_KNOWN_KINDS)
    return {key: config[key] for key in ("model_type", "tokenizer_class") if key in config}


def _is_known(kind: str) -> bool:
    """Return whether the tokenizer of a `model_type`, such as xlm-roberta, is known."""
    plain = kind.replace("-", "").replace("_", "").casefold()
    return kind in DETECTORS or plain in {family.casefold() for family in _FAMILIES}


def _without_files(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tokenizer's config without keys that refer to files."""
    return {
        key: _without_files(value) if isinstance(value, dict) else value
        for key, value in config.items()
        if not key.startswith("_") and not key.endswith(_FILE_KEYS)
    }


def _text_tower_config(path: Path) -> dict[str, Any]:
    """Return the config of a text tower, with the keys of its kind only."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    values = read_json(path)
    kind = values.get("model_type")
    if not isinstance(kind, str) or kind not in arch_dict:
        hint = f"open_clip knows {', '.join(sorted(arch_dict))}"
        raise ModelError(f"{path}: unknown kind of text tower {str(kind)[:80]!r}", hint=hint)
    config = CONFIG_MAPPING[kind]
    known_keys = {"model_type", *config().to_dict(), *config.attribute_map}
    return {
        key: value
        for key, value in values.items()
        if key in known_keys and not key.startswith("_") and "implementation" not in key
    }


def load_detector(source: DetectorFiles) -> LoadedDetector:
    """Build a detection model from its configs, reduced to known keys, and from weights as safetensors.

    Raises:
        ModelError: a config names another kind of part, or the weights are of another architecture.
    """
    import transformers
    from transformers import AutoTokenizer

    transformers.utils.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    kind = DETECTORS[source.kind]
    pixels = getattr(transformers, kind.pixels)(**_pixel_options(source))
    with _tokenizer_files(source.folder) as folder:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    with tempfile.TemporaryDirectory(prefix="clipcli-model-") as name:
        _write(Path(name) / DETECTOR_CONFIG, _detector_config(source))
        _link(source.weights.resolve(), Path(name) / DETECTOR_WEIGHTS)
        model, info = getattr(transformers, kind.model).from_pretrained(
            name, local_files_only=True, trust_remote_code=False, use_safetensors=True, output_loading_info=True
        )
    if wrong := sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]])):
        raise ModelError(
            f"{source.weights} lacks {len(wrong)} of the model's weights, {wrong[0]} among them",
            hint="these weights belong to another architecture",
        )
    return LoadedDetector(model.float().eval(), pixels, tokenizer)


def _detector_config(source: DetectorFiles) -> dict[str, Any]:
    """Return a detection model's config with known keys only, also in its parts."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    stored, default = read_json(source.config), CONFIG_MAPPING[source.kind]()
    config = _known_keys(stored, default)
    for part, kinds in DETECTORS[source.kind].parts.items():
        inner = stored.get(part)
        if not isinstance(inner, dict):
            config.pop(part, None)
            continue
        named = inner.get("model_type", kinds[0])
        if named not in kinds:
            hint = f"known is {' or '.join(kinds)}"
            raise ModelError(f"{source.config}: unknown kind of {part} {str(named)[:80]!r}", hint=hint)
        config[part] = {**_known_keys(inner, getattr(default, part)), "model_type": named}
    if source.kind == "grounding-dino":
        config["disable_custom_kernels"] = True  # they would be fetched, or compiled here
    return {**config, "model_type": source.kind}


def _known_keys(config: Mapping[str, Any], default: Any) -> dict[str, Any]:
    """Return the keys of this class of config, except those that choose files, code or number formats."""
    known = {*default.to_dict(), *default.attribute_map}
    return {
        key: value
        for key, value in config.items()
        if key in known and not key.startswith(("_", "use_")) and key not in _NOT_OF_A_CONFIG
    }


def _pixel_options(source: DetectorFiles) -> dict[str, Any]:
    """Return the settings for preparing pixels: known keys with numbers. Raises ModelError."""
    config = source.pixel_config()
    check_numbers(config, str(source.folder))
    options = {key: config[key] for key in _PIXEL_KEYS if config.get(key) is not None}
    for key, value in options.items():
        numbers = value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        if not all(isinstance(number, (int, float)) and 0 <= number <= _LARGEST_EDGE for number in numbers):
            raise ModelError(f"{source.name}: {key} of its preparation cannot be {str(value)[:80]}", hint=_DAMAGED)
    return options


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value), encoding="utf-8")


def _link(source: Path, target: Path) -> None:
    try:
        target.symlink_to(source)
    except OSError:  # Windows without the right to create links
        shutil.copyfile(source, target)
