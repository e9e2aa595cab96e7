"""Where the weights are, or how to get them."""

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
        raise NoWeights(f"{directory} (MODEL_PATH) has no {SUBFOLDER}/model_index.json")
    return download(settings)


def is_complete(directory: Path) -> bool:
    """Whether a directory holds a pipeline in its own format."""
    return (directory / SUBFOLDER / "model_index.json").is_file()


def download(settings: Settings) -> Path:
    """Fetch into the hub's cache under HF_HOME what is not there yet."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        directory = Path(
            snapshot_download(
                REPOSITORY,
                allow_patterns=[f"{SUBFOLDER}/*"],
                # Of the environment alone: a token that somebody left on the disk does not count.
                token=settings.hf_token.get_secret_value() if settings.hf_token else False,
            )
        )
    except LocalEntryNotFoundError as error:
        cause = type(error.__cause__ or error).__name__
        raise NoWeights(
            f"{REPOSITORY} is not in the cache, and the hub cannot be asked: {cause}"
        ) from error
    if not is_complete(directory):
        raise NoWeights(f"{directory} has no {SUBFOLDER}/model_index.json")
    return directory
