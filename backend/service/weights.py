"""Where the weights are, or how to get them."""

import json
from pathlib import Path

from .settings import Settings

REPOSITORY = "stepfun-ai/Step1X-3D"
SUBFOLDER = "Step1X-3D-Geometry-1300m"
DEFAULT_DIRECTORY = Path("/models/Step1X-3D")


class NoWeights(Exception):
    """There are none, and none can be downloaded; the message says what to do."""


def locate(settings: Settings) -> Path:
    """Find the directory that holds SUBFOLDER; downloads it, unless there is one.

    Raises NoWeights, and whatever the hub refuses with.
    """
    directory = settings.model_path or DEFAULT_DIRECTORY
    if is_complete(directory):
        return directory
    if settings.model_path:
        raise NoWeights(f"{directory} (MODEL_PATH) has no {missing(directory)}")
    return download(settings)


def is_complete(directory: Path) -> bool:
    """Whether a directory holds a pipeline in its own format, with all its parts."""
    return missing(directory) is None


def missing(directory: Path) -> str | None:
    """The first file that a pipeline in a directory lacks, as a pattern; None when it is whole.

    The index names its parts, each in a directory of its own.
    """
    index = directory / SUBFOLDER / "model_index.json"
    try:
        parts = json.loads(index.read_text())
    except (OSError, ValueError):
        return f"{SUBFOLDER}/model_index.json"
    for part, origin in parts.items():
        # What begins with `_` is about the pipeline, and [null, null] stands for a part left out.
        if part.startswith("_") or not isinstance(origin, list) or None in origin:
            continue
        # A scheduler and its like have settings alone; weights come with a config.json.
        if not any((index.parent / part).glob("*.json")):
            return f"{SUBFOLDER}/{part}/*.json"
        if not (index.parent / part / "config.json").is_file():
            continue
        if not any(kept.is_file() for kept in weight_files(index.parent / part)):
            return f"{SUBFOLDER}/{part}/*.safetensors"
    return None


def weight_files(part: Path) -> list[Path]:
    """Files of weights; of those in the hub's cache that are links, also ones that lead nowhere."""
    return [file for ending in ("safetensors", "bin") for file in part.glob(f"*.{ending}")]


def download(settings: Settings) -> Path:
    """Fetch into the hub's cache under HF_HOME what is not there yet."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        directory = Path(
            snapshot_download(
                REPOSITORY,
                allow_patterns=[f"{SUBFOLDER}/*"],
                # From the environment alone: a token that was left on the disk does not count.
                token=settings.hf_token.get_secret_value() if settings.hf_token else False,
            )
        )
    except LocalEntryNotFoundError as error:
        cause = type(error.__cause__ or error).__name__
        raise NoWeights(
            f"{REPOSITORY} is not in the cache, and the hub cannot be asked: {cause}"
        ) from error
    if not is_complete(directory):
        raise NoWeights(f"{directory} has no {missing(directory)}: the download broke off")
    return directory
