"""What becomes of an upload before the model sees it."""

import io
import struct
import zlib

import pytest
from PIL import Image

from pictures import BALL, SIZE, ball, encoded
from service.errors import BadImage, NotAnImage, Problem
from service.images import prepare

MAX_SIDE = 256


def prepared(upload: bytes) -> Image.Image:
    return Image.open(io.BytesIO(prepare(upload, MAX_SIDE)))


def png_claiming(width: int, height: int) -> bytes:
    """A PNG whose header lies about its size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return (
        BALL[:8]
        + struct.pack(">I", 13)
        + header
        + struct.pack(">I", zlib.crc32(header))
        + BALL[33:]
    )


def with_bomb(kind: bytes) -> bytes:
    """A PNG with a chunk that would be 100 MB."""
    chunk = kind + b"key\0\0" + zlib.compress(bytes(10**8))
    return (
        BALL[:33]
        + struct.pack(">I", len(chunk) - 4)
        + chunk
        + struct.pack(">I", zlib.crc32(chunk))
        + BALL[33:]
    )


def with_scans(count: int, film: bytes = b"") -> bytes:
    """A progressive JPEG whose last scan, of a few bytes, is repeated."""
    photo = encoded(Image.new("RGB", SIZE), "JPEG", progressive=True)[:-2]
    last = photo.rindex(b"\xff\xda")
    scans = photo.count(b"\xff\xda")
    return photo + photo[last:] * (count - scans) + b"\xff\xd9" + film


def animated(form: str) -> bytes:
    frames = [ball("RGB"), Image.new("RGB", SIZE, "blue")]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:], duration=100)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_each_format(form: str) -> None:
    picture = prepared(encoded(ball("RGB"), form))
    assert (picture.mode, picture.size) == ("RGBA", SIZE)


@pytest.mark.parametrize(
    "picture",
    [ball("RGB").convert(mode) for mode in ("1", "L", "P", "RGB")]
    + [ball().convert(mode) for mode in ("LA", "RGBA")],
    ids=lambda picture: picture.mode,
)
def test_each_mode_of_png(picture: Image.Image) -> None:
    assert prepared(encoded(picture)).mode == "RGBA"


def test_sixteen_bits_are_scaled_to_eight() -> None:
    deep = Image.new("I;16", SIZE, 0x8000)
    assert prepared(encoded(deep)).getpixel((0, 0)) == (0x80, 0x80, 0x80, 255)


def test_a_cmyk_jpeg() -> None:
    assert prepared(encoded(ball("RGB").convert("CMYK"), "JPEG")).mode == "RGBA"


def test_a_transparent_colour_becomes_alpha() -> None:
    picture = prepared(encoded(ball("RGB"), transparency=(0, 0, 0)))
    assert picture.getchannel("A").getextrema() == (0, 255)


def test_a_photo_is_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    assert prepared(encoded(ball("RGB"), "JPEG", exif=exif)).size == SIZE[::-1]


def test_a_photo_with_a_preview_is_one_picture() -> None:
    photo = encoded(ball("RGB"), "MPO", save_all=True, append_images=[ball("RGB")])
    assert prepared(photo).size == SIZE


def test_a_photo_with_a_film_behind_it() -> None:
    assert prepared(with_scans(100, film=b"\xff\xda" * 1000)).size == SIZE


def test_the_largest_and_the_smallest() -> None:
    for side in (16, MAX_SIDE):
        assert prepared(encoded(Image.new("RGB", (side, side)))).size == (side, side)


@pytest.mark.parametrize(
    ("upload", "problem", "words"),
    [
        (b"", NotAnImage, "empty"),
        (b"hello", NotAnImage, "not a PNG, JPEG or WebP"),
        (encoded(ball("RGB"), "GIF"), NotAnImage, "not a PNG, JPEG or WebP"),
        (encoded(ball("RGB"), "BMP"), NotAnImage, "not a PNG, JPEG or WebP"),
        (BALL[:20], BadImage, "truncated"),
        (BALL[: len(BALL) // 2], BadImage, "truncated"),
        (encoded(ball("RGB"), "JPEG")[:-200], BadImage, "truncated"),
        (encoded(ball("RGB"), "WEBP")[:-50], Problem, ""),
        (png_claiming(0, 0), BadImage, "0 pixels"),
        (png_claiming(64, 0), BadImage, "0 pixels"),
        (png_claiming(2**31 - 1, 2**31 - 1), BadImage, "2147483647 × 2147483647"),
        (encoded(Image.new("L", (MAX_SIDE + 1, 20))), BadImage, "a side may have 16 to 256"),
        (encoded(Image.new("L", (15, 20))), BadImage, "15 × 20"),
        (with_bomb(b"zTXt"), BadImage, "damaged"),
        (with_bomb(b"iCCP"), BadImage, "damaged"),
        (with_scans(101), BadImage, "more than 100 scans"),
        (animated("PNG"), BadImage, "animated"),
        (animated("WEBP"), BadImage, "animated"),
        (encoded(Image.new("RGBA", SIZE)), BadImage, "transparent everywhere"),
        (encoded(ball(size=(20, 20))), BadImage, "not transparent"),
    ],
)
def test_refusals(upload: bytes, problem: type[Problem], words: str) -> None:
    with pytest.raises(problem) as refusal:
        prepare(upload, MAX_SIDE)
    assert words in refusal.value.detail


def test_a_decompression_bomb_is_refused_by_its_header() -> None:
    """30000 × 30000 pixels in some 100 kB, of which not a row is decoded."""
    bomb = encoded(Image.new("1", (30000, 30000)))
    with pytest.raises(BadImage, match="30000 × 30000"):
        prepare(bomb, MAX_SIDE)
