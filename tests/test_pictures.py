"""Pictures of every kind become numbers or are counted; real weights, each picture embedded once."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from shelfcast.data import pictures

RED = (200, 30, 30)


def draw(size=(80, 120), colour=RED, ground="white", mode="RGB"):
    image = Image.new(mode, size, ground)
    ImageDraw.Draw(image).rectangle((size[0] // 4, size[1] // 4, 3 * size[0] // 4, 3 * size[1] // 4), fill=colour)
    return image


def save(folder, name, image, **options):
    path = folder / name
    image.save(path, **options)
    return path


# ---------------------------------------------------------------- one picture


def test_the_whole_picture_stands_on_white(tmp_path):
    square, changes = pictures.load_picture(save(tmp_path, "a.png", draw((40, 100), ground="black")))
    pixels = np.asarray(square)
    assert pixels.shape == (224, 224, 3) and not changes
    assert (pixels[:, 2] > 250).all() and (pixels[2, 112] < 5).all()  # a white border left, the picture to its top


@pytest.mark.parametrize(
    "name, image, options, change",
    [
        ("grey.png", draw(mode="L", colour=90), {}, "grey"),
        ("sixteen.png", Image.fromarray(np.full((50, 50), 40_000, np.uint16)), {}, "grey"),
        ("line.png", draw(mode="1", colour=0, ground=1), {}, "grey"),
        ("clear.png", draw(mode="RGBA", colour=(*RED, 255), ground=(0, 0, 0, 0)), {}, "transparent, laid on white"),
        ("palette.png", draw().quantize(8), {"transparency": 0}, "transparent, laid on white"),
        ("ink.jpg", draw(mode="CMYK", colour=(0, 255, 255, 0), ground=(0, 0, 0, 0)), {}, None),
        ("long.png", draw((400, 60)), {}, "much longer than wide, bordered with white"),
    ],
)
def test_odd_pictures_are_changed_to_squares(tmp_path, name, image, options, change):
    square, changes = pictures.load_picture(save(tmp_path, name, image, **options))
    assert square.mode == "RGB" and square.size == (224, 224)
    assert changes == ({change} if change else set())


def test_transparent_pixels_become_white(tmp_path):
    clear = draw(mode="RGBA", colour=(*RED, 255), ground=(0, 0, 0, 0))
    pixels = np.asarray(pictures.load_picture(save(tmp_path, "a.png", clear))[0])
    assert (pixels[5, 112] > 250).all() and abs(pixels[112, 112].astype(int) - RED).max() < 10


def test_a_turned_photograph_is_turned_back(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera stood on its side
    turned = draw((120, 80))
    square = pictures.load_picture(save(tmp_path, "a.jpg", turned, exif=exif))[0]
    upright = pictures.load_picture(save(tmp_path, "b.jpg", turned.rotate(-90, expand=True)))[0]
    assert np.abs(np.asarray(square).astype(int) - np.asarray(upright)).mean() < 3


@pytest.mark.parametrize("spoil", ["text", "cut short", "empty", "tiny", "folder"])
def test_files_that_are_no_pictures_are_refused(tmp_path, spoil):
    path = save(tmp_path, "a.png", draw())
    if spoil == "folder":
        path = tmp_path
    elif spoil == "tiny":
        path = save(tmp_path, "a.png", draw((8, 8)))
    else:
        path.write_bytes({"text": b"no picture", "cut short": path.read_bytes()[:90], "empty": b""}[spoil])
    with pytest.raises(
        ValueError, match=r"8×8 pixels; at least 16" if spoil == "tiny" else r"cannot be read as a picture"
    ):
        pictures.load_picture(path)


# ---------------------------------------------------------------- a market's


@pytest.fixture(scope="module")
def shelf(tmp_path_factory):
    """Six products: two red, two green, one grey, one that is no picture."""
    folder = tmp_path_factory.mktemp("shelf")
    colours = {"r1": RED, "r2": (210, 40, 35), "g1": (30, 170, 60), "g2": (40, 180, 70), "x": (90, 90, 90)}
    images = {name: save(folder, f"{name}.png", draw(colour=colour)) for name, colour in colours.items()}
    images["x"] = save(folder, "x.png", draw(mode="L", colour=90))
    images["broken"] = folder / "broken.png"
    images["broken"].write_bytes(b"PNG?")
    return images


def test_embeddings_of_alike_pictures_are_near(shelf, tmp_path, capsys):
    table, quality = pictures.embed(shelf, "efficientnet_lite0", tmp_path / "cache.parquet")
    assert list(table.index) == ["r1", "r2", "g1", "g2", "x"] and table.shape[1] == 1280
    assert quality.set_index("check")["found"].to_dict() == {"picture unreadable": 1, "picture grey": 1}
    assert "broken.png cannot be read" in capsys.readouterr().out
    far = np.linalg.norm(table.to_numpy()[:, None] - table.to_numpy()[None], axis=-1)
    assert far[0, 1] < 0.5 * far[0, 2] and far[2, 3] < 0.5 * far[1, 3]


def test_a_picture_is_embedded_once(shelf, tmp_path, monkeypatch):
    cache = tmp_path / "cache.parquet"
    first, _ = pictures.embed(shelf, "efficientnet_lite0", cache)
    calls, load = [], pictures.load_encoder

    def counted(name):
        read = load(name)
        return lambda images: calls.append(len(images)) or read(images)

    monkeypatch.setattr(pictures, "load_encoder", counted)
    again, _ = pictures.embed(shelf, "efficientnet_lite0", cache)
    assert not calls and again.equals(first)
    other = shelf | {"r1": shelf["g1"], "new": save(tmp_path, "new.png", draw(colour=(0, 0, 250)))}
    changed, _ = pictures.embed(other, "efficientnet_lite0", cache)
    assert calls == [1]  # r1's file is g1's, which was embedded before
    np.testing.assert_array_equal(changed.loc["r1"], first.loc["g1"])


def test_components_keep_distances_and_leave_gaps(shelf, tmp_path):
    table, _ = pictures.embed(shelf, "efficientnet_lite0", tmp_path / "cache.parquet")
    numbers = pictures.components(table, ["g1", "none", "r1", "r2", "g2", "x"])
    assert numbers.loc["none"].isna().all() and numbers.drop("none").notna().all().all()
    np.testing.assert_allclose(numbers.drop("none").to_numpy().var(0).mean(), 1)
    x, z = table.loc[["r1", "r2", "x"]].to_numpy(float), numbers.loc[["r1", "r2", "x"]].to_numpy()
    ratio = [np.linalg.norm(a[0] - a[1]) / np.linalg.norm(a[0] - a[2]) for a in (x, z)]
    np.testing.assert_allclose(*ratio, rtol=1e-6)
    assert pictures.components(table.head(1), ["r1", "r2"]).shape == (2, 0)


def test_an_unknown_encoder_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"image encoder '.*nowhere' cannot be loaded.*prepare.image_encoder"):
        pictures.load_encoder(str(tmp_path / "nowhere"))
