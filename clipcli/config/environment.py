"""Every environment variable that a run listens to, compared by a test with the code and with docs/environment.md."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """One environment variable."""

    name: str
    meaning: str
    secret: bool = False
    """Its value is never shown."""
    foreign: bool = False
    """Read by a library below clipcli, not by clipcli itself."""


VARIABLES = (
    Variable(
        "CLIPCLI_CONFIG", "a config file to use in place of the one that would be found; it is trusted as `--config`"
    ),
    Variable("CLIPCLI_MODEL", "default of `--model`"),
    Variable("CLIPCLI_DEVICE", "default of `--device`"),
    Variable("CLIPCLI_PRECISION", "default of `--precision`"),
    Variable("CLIPCLI_ENGINE", "default of `--engine`"),
    Variable("CLIPCLI_FORMAT", "default of `--format`, where neither `-o FILE` nor `--paths` says it"),
    Variable("CLIPCLI_BATCH_SIZE", "default of `--batch-size`"),
    Variable("CLIPCLI_WORKERS", "default of `--workers`"),
    Variable("CLIPCLI_NO_CACHE", "1: as `--no-cache`"),
    Variable("CLIPCLI_OFFLINE", "1: as `--offline`, open no connection"),
    Variable("CLIPCLI_CACHE_DIR", "clipcli's own cache: vectors, bundles, what is known of models"),
    Variable("CLIPCLI_CACHE_MAX_SIZE", "bound of the cache of vectors, such as `500M`; 2GB without it"),
    Variable("CLIPCLI_CACHE_DTYPE", "how vectors are kept: `float32` (the default) or `float16`"),
    Variable("CLIPCLI_AUTO_EXPORT", "0: make no fast-starting copies of models; 1: make them in CI too"),
    Variable("CLIPCLI_REMOTE_TIMEOUT", "seconds that a request to a URL may take; 60 without it"),
    Variable("CI", "set by CI servers: as `CLIPCLI_AUTO_EXPORT=0` where that is not set; `false` is not CI"),
    Variable("GITHUB_ACTIONS", "set to `true` there: failing images are marked in the pull request"),
    Variable(
        "TF_BUILD", "set by Azure Pipelines; there, and where `CI` is set, no name in the output can command the server"
    ),
    Variable(
        "GITHUB_WORKSPACE", "set there: paths in marks and reports start here, elsewhere at the folder with `.git`"
    ),
    Variable("SUDO_UID", "set by sudo: as root, config files and repositories of that user count too"),
    Variable("XDG_DATA_HOME", "Linux: the folder above the trash; `~/.local/share` without it"),
    Variable(
        "XDG_STATE_HOME",
        "Linux: the folder above the key of journals; `~/.local/state` without it",
        foreign=True,
    ),
    Variable("XDG_CACHE_HOME", "Linux: the folder above the caches; `~/.cache` without it", foreign=True),
    Variable("HF_HOME", "the hub's files: weights, token", foreign=True),
    Variable("HF_HUB_CACHE", "the hub's weights alone; `HF_HOME/hub` without it", foreign=True),
    Variable("HF_HUB_OFFLINE", "1: as `--offline`"),
    Variable("HF_TOKEN", "pass for gated and private repositories", secret=True, foreign=True),
    Variable("HF_ENDPOINT", "another hub than huggingface.co", foreign=True),
    Variable("HTTPS_PROXY", "a proxy on the way to the hub", secret=True, foreign=True),
    Variable("RAY_ADDRESS", "the cluster of `--on auto`", foreign=True),
    Variable("RAY_USE_TLS", "1: the cluster of `--on` speaks TLS", foreign=True),
    Variable("CUDA_VISIBLE_DEVICES", "NVIDIA devices that may be used", foreign=True),
    Variable("OMP_NUM_THREADS", "threads of torch and ONNX Runtime", foreign=True),
    Variable(
        "ORT_DISABLE_TELEMETRY", "1, which clipcli sets: ONNX Runtime reports nothing to its makers", foreign=True
    ),
    Variable("NO_COLOR", "no colours in tables", foreign=True),
    Variable("TERM", "the kind of terminal; `dumb`: no progress bars; `dumb` or empty: no previews"),
    Variable("COLUMNS", "width of tables and of `--help`", foreign=True),
)
