import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from transformers.image_transforms import convert_to_rgb

from a2a_vision.reading import read_image


def encoded(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "HSV"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_rgb_or_grey_as_transformers_makes_it(picture, mode, channels):
    image = picture(9, 7, "RGBA" if mode == "PA" else "RGB").convert(mode)
    if mode in ("LA", "RGBA"):
        image.putalpha(Image.linear_gradient("L").resize(image.size))
    got = read_image(image, channels)
    wanted = Image.fromarray(convert_to_rgb(image, return_numpy=True)).convert("RGB" if channels == 3 else "L")
    assert got.mode == wanted.mode
    gap = np.asarray(got).astype(int) - np.asarray(wanted)
    assert abs(gap).max() <= (1 if channels == 1 else 0)  # grey straight from YCbCr rounds once less


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_palette_with_a_transparent_colour_shows_white(kind):
    image = Image.new("P", (4, 2), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    image.putpixel((0, 0), 0)
    got = np.asarray(read_image(encoded(image, kind, transparency=0), 3))
    assert got[0, 0].tolist() == [255, 255, 255]
    assert got[1, 3].tolist() == [200, 10, 20]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_greys_are_scaled_not_clipped(kind):
    values = np.array([[0, 128, 129], [257, 32768, 65535]], dtype=np.uint16)
    got = np.asarray(read_image(encoded(Image.fromarray(values), kind), 1))
    assert got.tolist() == np.rint(values / 257).astype(int).tolist()


def test_greys_beyond_16_bits_and_floats_are_refused():
    for values, message in ((np.int32([[0, 70000]]), "at most 16 bits"), (np.float32([[0, 0.5]]), "floating-point")):
        with pytest.raises(ValueError, match=message):
            read_image(Image.fromarray(values), 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation_is_applied(picture, orientation, kind):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    data = encoded(picture(8, 16), kind, exif=exif)
    wanted = ImageOps.exif_transpose(Image.open(io.BytesIO(data)))
    assert np.array_equal(np.asarray(read_image(data, 3)), np.asarray(wanted.convert("RGB")))


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1), (5, 4, 2), (5, 4, 3), (5, 4, 4)])
def test_arrays(shape):
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    if len(shape) == 3 and shape[2] in (2, 4):
        array[..., -1] = 255
    got = np.asarray(read_image(array, 3))
    wanted = array[..., None] if len(shape) == 2 else array
    assert np.array_equal(
        got, np.broadcast_to(wanted[..., :1] if shape[2:] in ((), (1,), (2,)) else wanted[..., :3], (5, 4, 3))
    )


def test_path_bytes_and_image_are_the_same(tmp_path, picture):
    image = picture(6, 5)
    file = tmp_path / "it.png"
    image.save(file)
    wanted = np.asarray(image)
    for raw in (file, str(file), file.read_bytes(), bytearray(file.read_bytes()), Image.open(file), image, wanted):
        assert np.array_equal(np.asarray(read_image(raw, 3)), wanted)


def bad_files(folder, picture):
    whole = encoded(picture(90, 90), "JPEG")
    files = {
        "empty.png": b"",
        "text.png": b"this is no picture, though its name says so\n",
        "noise.jpg": bytes(range(256)) * 8,
        "truncated.jpg": whole[: -len(whole) // 3],
        "header.png": encoded(picture(40, 40))[:20],
        "truncated.png": encoded(picture(40, 40))[:-300],
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    (folder / "folder.png").mkdir()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty.png", r"empty \(0 bytes\)"),
        ("text.png", "no image"),
        ("noise.jpg", "no image"),
        ("truncated.jpg", "damaged: .*truncated"),
        ("header.png", "no image|cannot be opened|damaged"),
        ("truncated.png", "damaged: .*truncated"),
        ("missing.png", "does not exist"),
        ("folder.png", "is a folder"),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path, picture, name, message):
    bad_files(tmp_path, picture)
    with pytest.raises(ValueError, match=message) as caught:
        read_image(tmp_path / name, 3)
    assert type(caught.value) is ValueError
    if (tmp_path / name).is_file():
        with pytest.raises(ValueError, match=message):
            read_image((tmp_path / name).read_bytes(), 3)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked():
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    plain = encoded(Image.new("RGB", (1, 1)))
    start = plain.index(b"IHDR")
    data = plain[: start + 4] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + plain[start + 4 + len(header) + 4 :]
    with pytest.raises(ValueError, match=r"too large.*3600000000 pixels"):
        read_image(data, 3)


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (np.zeros((0, 4, 3), np.uint8), "no pixels"),
        (Image.new("RGB", (0, 3)), "no pixels"),
        (np.zeros((4, 4, 3), np.float32), "uint8.*not float32"),
        (np.zeros((3, 4, 5), np.uint8), r"\(H, W\).*not \(3, 4, 5\)"),
        (np.zeros(4, np.uint8), r"not \(4,\)"),
        (7, "not int"),
        (None, "not NoneType"),
        ({"path": "a.png"}, "not dict"),
        ("", "is a folder|does not exist"),
        (b"", "empty"),
    ],
)
def test_what_is_no_image_at_all(raw, message):
    with pytest.raises(ValueError, match=message):
        read_image(raw, 3)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "BMP"])
def test_damaged_files_never_raise_anything_else(picture, kind):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    whole = encoded(picture(12, 15), kind, **({"exif": exif} if kind in ("JPEG", "PNG", "WEBP") else {}))
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(150):
        data = np.frombuffer(whole, np.uint8)[: random.integers(1, len(whole) + 1)].copy()
        data[random.integers(0, len(data), 3)] = random.integers(0, 256, 3)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert read_image(data.tobytes(), 3).mode == "RGB"
            except ValueError:
                refused += 1
    assert refused > 20
