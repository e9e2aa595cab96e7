"""All settings of the service, read once from the environment; .env.example lists them."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """One field a variable of the same name in capitals; an empty variable counts as unset.

    HF_HOME, HF_HUB_OFFLINE, U2NET_HOME and CUDA_VISIBLE_DEVICES are read by the libraries
    they belong to.
    """

    model_config = SettingsConfigDict(env_ignore_empty=True, extra="ignore", frozen=True)

    model_path: Path | None = None
    """Directory with the weights; None for the default directory or else the hub."""
    sources_path: Path = Path(__file__).parents[1] / "Step1X-3D"
    """Directory that holds upstream's package `step1x3d_geometry`."""
    output_path: Path = Path("/output")
    """Directory that keeps every mesh."""
    hf_token: SecretStr | None = None
    max_queue: int = Field(default=4, ge=0, le=1000)
    """How many requests may wait while another one generates."""
    max_upload_mb: int = Field(default=20, ge=1, le=1000)
    """Largest body of a request, in 10**6 bytes."""
    max_image_side: int = Field(default=4096, ge=16, le=16384)
    """Longest side of an image, in pixels; a side of 4096 takes 64 MiB decoded."""

    @property
    def max_upload_bytes(self) -> int:
        """Largest body of a request, in bytes."""
        return self.max_upload_mb * 10**6
