"""Pictures to upload."""

import io

from PIL import Image, ImageDraw

SIZE = (96, 64)


def ball(mode: str = "RGBA", size: tuple[int, int] = SIZE) -> Image.Image:
    """A red ball before nothing, or before black where there is no transparency."""
    picture = Image.new("RGBA", size)
    box = (size[0] // 4, size[1] // 8, size[0] * 3 // 4, size[1] * 7 // 8)
    ImageDraw.Draw(picture).ellipse(box, (200, 30, 30, 255))
    return picture.convert(mode)


def encoded(picture: Image.Image, form: str = "PNG", **options: object) -> bytes:
    """A file of a picture."""
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


BALL = encoded(ball())
