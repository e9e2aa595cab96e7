"""From an uploaded file to a picture that the pipeline can use, or the reason why not."""

import io
import re
import warnings

from PIL import Image, ImageOps, UnidentifiedImageError

from .errors import BadImage, NotAnImage, Problem

FORMATS = ("PNG", "JPEG", "WEBP")
MIN_SIDE = 16
"""In pixels; with less there is nothing to see, and upstream fails on a single pixel."""

MAX_SCANS = 100
"""A progressive JPEG has some ten; each one has the decoder walk through all of the picture."""
MARKER = re.compile(rb"\xff([^\x00\x01\xff\xd0-\xd7])", re.DOTALL)
"""What begins a segment of a JPEG; the others stand in a scan, or alone."""

# Pillow only warns of a bomb up to twice this limit; here `check` looks at each image before
# its pixels are decoded.
Image.MAX_IMAGE_PIXELS = None
warnings.filterwarnings("ignore", module=r"PIL\.")


def prepare(upload: bytes, max_side: int) -> bytes:
    """Decode an upload and give it back upright as a PNG in RGBA; `max_side` in pixels.

    Raises NotAnImage or BadImage.
    """
    try:
        with Image.open(io.BytesIO(upload), formats=FORMATS) as image:
            check(image, max_side)
            check_scans(upload)
            ImageOps.exif_transpose(image, in_place=True)
            picture = to_rgba(image)
    except Problem:
        raise
    except UnidentifiedImageError:
        raise unidentified(upload) from None
    # What decoders raise on damaged data is neither documented nor of one kind.
    except Exception as error:
        raise BadImage("the image is truncated or damaged: save it again") from error
    check_visible(picture)
    png = io.BytesIO()
    picture.save(png, "PNG", compress_level=1)
    return png.getvalue()


def check(image: Image.Image, max_side: int) -> None:
    """Raise BadImage for what the header alone says; nothing is decoded yet."""
    width, height = image.size
    if min(image.size) < MIN_SIDE or max(image.size) > max_side:
        raise BadImage(
            f"the image is {width} × {height} pixels; "
            f"a side may have {MIN_SIDE} to {max_side}: scale it"
        )
    # A JPEG with several pictures is a photo with previews, and the first one is the photo.
    if image.format in ("PNG", "WEBP") and getattr(image, "is_animated", False):
        raise BadImage("the image is animated: send one of its frames")


def check_scans(upload: bytes) -> None:
    """Raise BadImage for a JPEG of more scans than it can need; nothing is decoded yet."""
    if not upload.startswith(b"\xff\xd8"):
        return
    scans, at = 0, 2
    # Segment by segment, since what follows the end, such as a film, may look like scans.
    while (marker := MARKER.search(upload, at)) and marker[1] != b"\xd9":
        scans += marker[1] == b"\xda"
        if scans > MAX_SCANS:
            raise BadImage(
                f"the JPEG has more than {MAX_SCANS} scans: save it again, not progressive"
            )
        at = marker.end() + int.from_bytes(upload[marker.end() : marker.end() + 2])


def to_rgba(image: Image.Image) -> Image.Image:
    """Convert any mode to RGBA, with the transparency that a palette or a colour stands for."""
    if image.mode.startswith("I"):
        # Pillow clips 16 bits to 8 where it should scale them.
        image = image.convert("I").point(lambda level: level / 256).convert("L")
    return image.convert("RGBA")


def check_visible(picture: Image.Image) -> None:
    """Raise BadImage if less of an RGBA image is opaque than a mesh can be made of."""
    box = picture.getchannel("A").getbbox()
    if box is None:
        raise BadImage("the image is transparent everywhere: nothing is to be seen in it")
    width, height = box[2] - box[0], box[3] - box[1]
    if min(width, height) < MIN_SIDE:
        raise BadImage(
            f"only {width} × {height} pixels of the image are not transparent; "
            f"at least {MIN_SIDE} × {MIN_SIDE} are needed: send a larger picture"
        )


def unidentified(upload: bytes) -> Problem:
    """Say why Pillow did not recognize an upload."""
    if not upload:
        return NotAnImage("the file is empty")
    # Pillow takes an image without pixels for none at all.
    if upload.startswith(b"\x89PNG\r\n\x1a\n") and 0 in (
        int.from_bytes(upload[16:20]),
        int.from_bytes(upload[20:24]),
    ):
        return BadImage("the image is 0 pixels wide or high")
    return NotAnImage()
