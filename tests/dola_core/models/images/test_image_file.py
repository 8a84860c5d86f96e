"""Images that anybody may bring: each ends in its upright pixels or in one sentence, and leaves nothing behind."""

import base64
import gc
import os
import struct
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from dola_core.errors import PromptError
from dola_core.models.images.image_file import (
    MAX_BYTES,
    MAX_PIXELS,
    THUMBNAIL,
    check_image,
    data_url_content,
    open_image,
    prompt_image,
    read_image,
)
from tests.dola_core.models.images.families import picture

RED, WHITE = (255, 0, 0), (255, 255, 255)


def saved(image: Image.Image, form: str = "PNG", **how) -> bytes:
    file = BytesIO()
    image.save(file, form, **how)
    return file.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, *more: bytes) -> bytes:
    """A PNG that claims a size and holds next to nothing of it."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    content = chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + b"".join(more) + content


def scans(count: int) -> bytes:
    """A progressive JPEG that is decoded anew for every one of so many scans, of next to no bytes each."""
    whole = saved(Image.new("RGB", (64, 64)), "JPEG", progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:last] + whole[last:-2] * (count - whole[:last].count(b"\xff\xda")) + b"\xff\xd9"


def turned() -> bytes:
    """A JPEG, left half red, that its metadata turns by a quarter; with a place and a comment in it."""
    image = Image.new("RGB", (40, 20), WHITE)
    image.paste(RED, (0, 0, 20, 20))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "my home"
    return saved(image, "JPEG", exif=exif, comment=b"secret", quality=95)


def moving(form: str) -> bytes:
    frames = [picture(seed, (8, 8)) for seed in range(3)]
    return saved(frames[0], form, save_all=True, append_images=frames[1:])


REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "image_format"),
    "text": (lambda: b"not an image at all" * 50, "image_format"),
    "SVG": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "image_format"),
    "HTML": (lambda: b"<html><body>GIF89a</body></html>", "image_format"),
    "PDF": (lambda: saved(picture(), "PDF"), "image_format"),
    "EPS, which Pillow would run Ghostscript for": (lambda: saved(picture(), "EPS"), "image_format"),
    "TIFF": (lambda: saved(picture(), "TIFF"), "image_format"),
    "ICO": (lambda: saved(picture(size=(32, 32)), "ICO"), "image_format"),
    "a cut PNG": (lambda: saved(picture())[:-200], "image_damaged"),
    "a cut JPEG": (lambda: saved(picture(size=(200, 200)), "JPEG")[:3000], "image_damaged"),
    "a cut WebP": (lambda: saved(picture(size=(200, 200)), "WEBP")[:3000], "image_format"),
    "a header alone": (lambda: saved(picture())[:33], "image_format"),
    "a bomb that says so": (lambda: png(60_000, 60_000), "image_pixels"),
    "a bomb beyond Pillow's own bound": (lambda: png(2**31 - 1, 2**31 - 1), "image_pixels"),
    "a claim just above": (lambda: png(MAX_PIXELS // 1000, 1001), "image_pixels"),
    "a lie about its size": (lambda: png(3000, 3000), "image_damaged"),
    "a text that unpacks to much": (
        lambda: png(4, 4, chunk(b"zTXt", b"k\0\0" + zlib.compress(b"a" * 80_000_000))),
        "image_format",
    ),
    "a thread, which some processors blow up": (lambda: saved(Image.new("RGB", (6000, 1))), "image_shape"),
    "a thread that stands": (lambda: saved(Image.new("RGB", (10, 501))), "image_shape"),
    "a JPEG of very many scans": (lambda: scans(101), "image_scans"),
    "too many bytes": (lambda: saved(picture()) + b"\0" * MAX_BYTES, "image_bytes"),
    "a moving GIF": (lambda: moving("GIF"), "image_frames"),
    "a moving PNG": (lambda: moving("PNG"), "image_frames"),
    "a moving WebP": (lambda: moving("WEBP"), "image_frames"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_here_ends_in_one_sentence(name):
    make, kind = REFUSED[name]
    content = make()
    with pytest.raises(PromptError) as refused:
        read_image(content)
    assert refused.value.kind == kind
    assert "\n" not in str(refused.value)


def read(content: bytes) -> Image.Image:
    image = read_image(content).pixels
    assert image.mode == "RGB"
    assert not image.info
    assert not image.getexif()
    return image


def test_metadata_turns_the_image_and_is_dropped():
    image = read(turned())
    assert image.size == (20, 40)
    assert image.getpixel((10, 5))[0] > 200
    assert image.getpixel((10, 5))[1] < 60, "what was left is above now"
    assert image.getpixel((10, 35)) == WHITE
    thumbnail = base64.b64decode(read_image(turned()).thumbnail())
    assert b"secret" not in thumbnail
    assert b"my home" not in thumbnail


def test_inks_and_deep_and_transparent_pixels_become_what_people_see():
    inks = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    assert read(saved(inks, "JPEG")).getpixel((8, 8))[0] > 200
    ramp = np.linspace(0, 65535, 64 * 64).astype(np.uint16).reshape(64, 64)
    deep = np.asarray(read(saved(Image.fromarray(ramp))))[..., 0].astype(int)
    assert np.abs(deep - (ramp >> 8)).max() <= 1
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    assert read(saved(clear)).getpixel((4, 4)) == WHITE
    palette = Image.new("P", (8, 8), 1)
    palette.putpalette([0, 0, 0, 255, 0, 0])
    assert read(saved(palette, transparency=1)).getpixel((4, 4)) == WHITE
    assert read(saved(Image.new("1", (8, 8), 1))).getpixel((4, 4)) == WHITE
    assert read(saved(Image.new("L", (8, 8), 77), "BMP")).getpixel((4, 4)) == (77, 77, 77)


def test_the_name_of_a_file_says_nothing_about_it(tmp_path):
    (tmp_path / "image.svg").write_bytes(saved(picture(1)))
    assert open_image(tmp_path / "image.svg").sha256 == prompt_image(picture(1)).sha256


def test_what_hangs_on_an_image_is_not_looked_at():
    polyglot = saved(picture(1)) + b"PK\x03\x04<script>alert(1)</script>" + b"\0" * 1000
    assert read_image(polyglot).sha256 == prompt_image(picture(1)).sha256
    about = PngImagePlugin.PngInfo()
    about.add_text("Comment", "<script>")
    assert read(saved(picture(1), pnginfo=about)).tobytes() == picture(1).tobytes()


def test_the_hash_is_that_of_the_pixels():
    one = read_image(saved(picture(1)))
    assert one.sha256 == read_image(saved(picture(1), "WEBP", lossless=True)).sha256
    assert one.sha256 == read_image(saved(picture(1), "BMP")).sha256
    assert one.sha256 != read_image(saved(picture(2))).sha256
    flat = [prompt_image(Image.new("RGB", size)).sha256 for size in ((4, 6), (6, 4))]
    assert flat[0] != flat[1], "the shape counts, too"


def test_a_thumbnail_is_small_whatever_the_image():
    for size in ((4000, 3000), (1, 1), (500, 10)):
        image = prompt_image(Image.effect_noise(size, 90).convert("RGB"))
        small = Image.open(BytesIO(base64.b64decode(image.thumbnail())))
        assert max(small.size) <= THUMBNAIL
        assert len(image.thumbnail()) < 20_000


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
@settings(
    max_examples=60, deadline=None, phases=(Phase.explicit, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(data=st.data())
def test_any_damage_ends_in_an_image_or_in_one_sentence(form, data):
    content = bytearray(saved(picture(1, (24, 18)), form))
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(PromptError):  # any other error fails
        assert read_image(content).pixels.mode == "RGB"


def test_a_progressive_jpeg_as_cameras_and_programs_write_it_is_read():
    image = Image.effect_noise((300, 200), 80).convert("RGB")
    assert read(saved(image, "JPEG", progressive=True, quality=95)).size == (300, 200)
    assert read(scans(90)).size == (64, 64)


def test_a_look_at_the_beginning_costs_nothing_and_says_the_same():
    check_image(saved(picture()))
    for name in ("SVG", "a bomb that says so", "too many bytes"):
        make, kind = REFUSED[name]
        with pytest.raises(PromptError) as refused:
            check_image(make())
        assert refused.value.kind == kind


def test_nothing_stays_in_memory_or_on_disk(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    contents = [make() for make, _ in REFUSED.values()] + [turned()]
    opened = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    tracemalloc.start()
    try:
        for content in contents:
            with_error = None
            try:
                read_image(content)
            except PromptError as error:
                with_error = error
            del with_error
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < 3_000_000
    finally:
        tracemalloc.stop()
    assert list(tmp_path.iterdir()) == []
    if opened:
        assert len(os.listdir("/proc/self/fd")) <= opened + 1


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(PromptError, match=r"nowhere\.png cannot be read: No such file"):
        open_image(tmp_path / "nowhere.png")


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("", "image_url"),
        ("https://example.org/a.png", "image_url"),
        ("file:///etc/passwd", "image_url"),
        ("data:text/html;base64,PGI+", "image_url"),
        ("data:image/png,raw", "image_url"),
        ("data:image/png;base64,???", "image_url"),
        ("data:image/png;base64," + "A" * (4 * MAX_BYTES), "image_bytes"),
    ],
)
def test_a_data_url_is_bounded_and_nothing_else_is_fetched(url, kind):
    with pytest.raises(PromptError) as refused:
        data_url_content(url)
    assert refused.value.kind == kind


def test_a_data_url_holds_the_file():
    content = saved(picture())
    assert data_url_content("data:image/png;base64," + base64.b64encode(content).decode()) == content
