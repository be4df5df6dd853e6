"""Decoding on the GPU, with torchvision's decoder on the CPU in its place: the same calls but for the device."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pictures
import pytest
from PIL import Image
from run import run

from clipcli import images
from clipcli.cache import NoCache
from clipcli.core.encoder import Preprocessing
from clipcli.engines.nvjpeg import GpuDecoder, JpegDecoder, gpu_decoder
from clipcli.errors import DeviceError, ImageError, UsageError
from clipcli.images.preprocess import to_pixels
from clipcli.inputs.collect import ImageRef
from clipcli.session.prepare import Decoded, Preparation, Timings

HOW = Preprocessing((32, 32), (0.5, 0.5, 0.5), (0.3, 0.3, 0.3))
LEAST = (64, 64)


def scene(width: int = 640, height: int = 448, mode: str = "RGB") -> Image.Image:
    """Soft shapes, as photos have them."""
    small = np.random.default_rng(2).integers(0, 255, (7, 10, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC).convert(mode)


def jpeg(image: Image.Image, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=92, **options)
    return file.getvalue()


def apart(one: Image.Image, other: Image.Image) -> float:
    """Mean difference of the model's pixels, in steps of 255."""
    pixels = [to_pixels(image, HOW) for image in (one, other)]
    return float(np.abs(pixels[0] - pixels[1]).mean() * 0.3 * 255)


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}])
def test_an_image_is_shrunk_by_whole_steps_and_looks_the_same(mode: str, options: dict[str, object]):
    data = jpeg(scene(mode=mode), **options)
    found = JpegDecoder("cpu")(data, LEAST)
    assert found is not None
    assert (found.size, found.mode) == ((91, 64), "RGB")
    assert apart(found, images.decode(data)) < 1.5


def test_a_small_image_keeps_its_size():
    data = jpeg(scene(100, 90))
    found = JpegDecoder("cpu")(data, LEAST)
    assert found is not None
    assert found.size == (100, 90)
    assert apart(found, images.decode(data)) < 0.5


@pytest.mark.parametrize("turn", range(1, 9))
def test_the_camera_s_rotation_is_undone(turn: int):
    exif = Image.Exif()
    exif[0x0112] = turn
    data, decoder = jpeg(scene(), exif=exif), JpegDecoder("cpu")
    for orient in (True, False):
        ours = images.decode(data, orient=orient, jpeg=lambda data: decoder(data, LEAST))
        assert apart(ours, images.decode(data, orient=orient)) < 1.5


@pytest.mark.parametrize(
    "data",
    [
        jpeg(scene())[:-9000],
        jpeg(scene())[:-2],
        b"\xff\xd8\xff\xe0 no more than a beginning \xff\xd9",
    ],
)
def test_what_is_not_whole_is_left_to_the_cpu(data: bytes):
    assert JpegDecoder("cpu")(data, LEAST) is None


@pytest.mark.parametrize("mode", ["CMYK", "RGB"])
def test_other_modes_and_formats_never_come_there(mode: str):
    asked = []
    file = io.BytesIO()
    scene(mode=mode).save(file, "JPEG" if mode == "CMYK" else "PNG")
    images.decode(file.getvalue(), jpeg=asked.append)
    assert asked == []


def test_what_it_does_not_take_is_decoded_on_the_cpu_image_by_image(tmp_path, monkeypatch):
    turns = itertools.count()

    def failing(data, device):
        if next(turns) % 2:
            raise RuntimeError("nvjpegDecode failed: 3")
        return real(data, device)

    decoder = JpegDecoder("cpu")
    real = decoder._decode
    monkeypatch.setattr(decoder, "_decode", failing)
    files = [tmp_path / f"{number}.jpg" for number in range(4)]
    for file in files:
        file.write_bytes(jpeg(scene()))
    preparation = Preparation(HOW, "m/fp32/gpu", NoCache(), Timings(), on_gpu=decoder)
    exact = to_pixels(images.decode(files[0].read_bytes()), HOW)
    same = []
    for file in files:
        done = preparation.prepare(ImageRef(str(file), file.name))
        assert isinstance(done, Decoded)
        same.append(np.array_equal(done.pixels, exact))
    assert same == [False, True, False, True]


def test_a_cut_off_file_is_the_error_that_it_is_elsewhere():
    data, decoder = jpeg(scene())[:-9000], JpegDecoder("cpu")
    with pytest.raises(ImageError) as here:
        images.decode(data)
    with pytest.raises(ImageError) as there:
        images.decode(data, jpeg=lambda data: decoder(data, LEAST))
    assert there.value.reason == here.value.reason


@pytest.mark.parametrize(
    ("asked", "machine", "error", "message"),
    [
        ("cpu", "cuda", UsageError, "--device is cpu"),
        ("mps", "mps", UsageError, "--device is mps"),
        ("auto", None, DeviceError, "no CUDA device here"),
        ("auto", "mps", DeviceError, "no CUDA device here"),
        ("cuda:1", None, DeviceError, "no CUDA device here"),
    ],
)
def test_it_needs_a_cuda_device(monkeypatch, asked, machine, error, message):
    monkeypatch.setattr("clipcli.engines.nvjpeg.accelerator", lambda: machine)
    with pytest.raises(error, match=message):
        gpu_decoder(asked)


def test_the_decoder_is_loaded_when_the_first_image_comes(monkeypatch):
    monkeypatch.setattr("clipcli.engines.nvjpeg.accelerator", lambda: "cuda")
    used: list[str] = []
    monkeypatch.setattr("clipcli.engines.nvjpeg.JpegDecoder", lambda device: used.append(device) or JpegDecoder("cpu"))
    for asked in ("auto", "cuda:1"):
        decoder = gpu_decoder(asked)
        assert isinstance(decoder, GpuDecoder)
        assert decoder(jpeg(scene()), LEAST) is not None
        assert decoder(b"", LEAST) is None
    assert used == ["cuda", "cuda:1"]


def test_the_command_says_what_is_missing(tmp_path):
    pictures.disc("red", (90, 90)).save(tmp_path / "a.jpg")
    both = run("classify", tmp_path / "a.jpg", "-l", "a,b", "-m", "tiny", "--gpu-decode", "--fast-decode")
    assert (both.code, "choose one" in both.stderr) == (2, True)
    none = run("classify", tmp_path / "a.jpg", "-l", "a,b", "-m", "tiny", "--gpu-decode")
    assert (none.code, "--gpu-decode: no CUDA device here" in none.stderr) == (5, True)


@pytest.mark.thorough
def test_a_run_on_such_a_machine(tmp_path, monkeypatch):
    """From the command to the rows: the bundled model on the CPU, its JPEGs through the other decoder."""
    monkeypatch.setattr("clipcli.engines.nvjpeg.accelerator", lambda: "cuda")
    used: list[str] = []
    monkeypatch.setattr("clipcli.engines.nvjpeg.JpegDecoder", lambda device: used.append(device) or JpegDecoder("cpu"))
    pictures.disc("red", (3000, 2400)).save(tmp_path / "a.jpg")  # large enough to be shrunk while it is decoded
    pictures.disc("red", (900, 700)).save(tmp_path / "b.png")
    (tmp_path / "c.jpg").write_bytes(jpeg(scene())[:-9000])
    said = run("embed", tmp_path, "-m", "tiny", "-v", "--gpu-decode", "--no-cache").stderr
    assert "1 of 2 JPEGs were decoded on the GPU" in said
    (tmp_path / "c.jpg").unlink()
    used.clear()
    command = ("embed", tmp_path, "-m", "tiny", "-q")
    exact, ours = (np.array([row["embedding"] for row in run(*command, *more).rows]) for more in ([], ["--gpu-decode"]))
    assert used == ["cuda"]
    assert not np.array_equal(exact[0], ours[0])
    assert (exact[0] @ ours[0], exact[1] @ ours[1]) == pytest.approx((1, 1), abs=0.01)
    again = run(*command, "--gpu-decode")
    assert np.array_equal([row["embedding"] for row in again.rows], ours)
    assert used == ["cuda"], "the second run had everything in the cache"
