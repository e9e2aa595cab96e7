"""Save a pipeline of random weights, small enough for a CPU, in upstream's own format.

    python tiny_pipeline.py SOURCES DIRECTORY

SOURCES holds upstream's `step1x3d_geometry`. DIRECTORY is what MODEL_PATH then names.
"""

import json
import sys
from pathlib import Path

import torch

WIDTH = 32
LATENT_CHANNELS = 8
SUBFOLDER = "Step1X-3D-Geometry-1300m"


def main() -> None:
    """Build each part, save the whole, and point the encoder to its local directory."""
    sources, directory = sys.argv[1], Path(sys.argv[2]).resolve()
    sys.path.append(sources)
    from diffusers.schedulers import FlowMatchEulerDiscreteScheduler
    from step1x3d_geometry.models.autoencoders.michelangelo_autoencoder import (
        MichelangeloAutoencoder,
    )
    from step1x3d_geometry.models.conditional_encoders.dinov2_encoder import Dinov2Encoder
    from step1x3d_geometry.models.pipelines.pipeline import Step1X3DGeometryPipeline
    from step1x3d_geometry.models.transformers.flux_transformer_1d import FluxDenoiser

    torch.manual_seed(0)
    dino = directory / "dino"
    save_dino(dino)
    encoder = {"pretrained_dino_name_or_path": str(dino), "image_size": 28}
    Step1X3DGeometryPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=MichelangeloAutoencoder(
            {
                "width": WIDTH,
                "heads": 2,
                "num_latents": 16,
                "embed_dim": LATENT_CHANNELS,
                "num_encoder_layers": 1,
                "num_decoder_layers": 1,
                "num_freqs": 2,
                "point_feats": 3,
                "use_downsample": True,
                "use_flash": True,
                "use_checkpoint": False,
            }
        ),
        transformer=FluxDenoiser(
            {
                "input_channels": LATENT_CHANNELS,
                "width": WIDTH,
                "layers": 1,
                "num_single_layers": 1,
                "num_heads": 2,
                "condition_dim": WIDTH,
                "use_visual_condition": True,
                "visual_condition_dim": WIDTH,
            }
        ),
        visual_encoder=Dinov2Encoder(encoder),
        caption_encoder=None,
        label_encoder=None,
        visual_eature_extractor=None,
    ).save_pretrained(directory / SUBFOLDER)
    # Upstream leaves local paths out of what it saves, and would ask the hub instead.
    config = directory / SUBFOLDER / "visual_encoder/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | encoder))


def save_dino(directory: Path) -> None:
    """Save an image encoder, with the processor that goes before it."""
    from transformers import BitImageProcessor, Dinov2Config, Dinov2Model

    config = Dinov2Config(
        hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, image_size=28, patch_size=14
    )
    Dinov2Model(config).save_pretrained(directory)
    BitImageProcessor(size={"shortest_edge": 28}, crop_size=28).save_pretrained(directory)


if __name__ == "__main__":
    main()
