"""Images from a folder of the user's: one subfolder for each class, with or without folders ``train`` and ``test`` above."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from snn_rl.core.errors import UserError
from snn_rl.images.data import HELD_OUT, LEAST, MAX_BYTES, VALIDATION, Images, Part, divided
from snn_rl.store.bounded import content

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
MAX_IMAGE = 64 << 20  # bytes of a file
TEST_NAMES = ("test", "val", "validation")


def read(where: Path, size: int) -> Images:
    """All images below a folder, in colour, scaled to ``size`` x ``size`` pixels.

    Folders ``train`` and ``test`` (or ``val``) are taken as such; otherwise 30 % of the images are held out, always the same.

    Raises:
        UserError: if there are no two classes, a class has too few images, or one cannot be read.
    """
    if not where.is_dir():
        raise UserError(f"no folder '{where}'; --data folder:PATH takes one with a subfolder of images for each class")
    held_out = next((where / name for name in TEST_NAMES if (where / name).is_dir()), None)
    given = (where / "train").is_dir() and held_out is not None
    learnt = where / "train" if given else where
    classes = _classes(learnt)
    everything = _part(learnt, classes, size)
    if given and held_out is not None:
        if _classes(held_out) != classes:
            raise UserError(f"'{learnt}' and '{held_out}' hold other classes; each needs the same subfolders")
        test = _part(held_out, classes, size, 1)
    else:
        everything, test = divided(everything, HELD_OUT, classes, f"'{where}'")
    train, validation = divided(everything, VALIDATION, classes, f"'{where}'")
    return Images(f"folder:{where.name}", classes, train, validation, test, shift=max(size // 8, 1))


def _classes(folder: Path) -> tuple[str, ...]:
    found = tuple(sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")))
    if len(found) < 2:
        raise UserError(f"'{folder}' holds {len(found) or 'no'} subfolder(s) of images; give one for each class, at least two")
    return found


def _part(folder: Path, classes: tuple[str, ...], size: int, least: int = LEAST) -> Part:
    """The images of all classes, ``(n, 3, size, size)``; ``least`` of each."""
    files = [
        (path, n)
        for n, name in enumerate(classes)
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in ENDINGS and not path.name.startswith(".") and path.is_file()
    ]
    labels = np.array([n for _, n in files], np.int64)
    for n, name in enumerate(classes):
        if (count := int((labels == n).sum())) < least:
            raise UserError(f"'{folder / name}' holds {count} image(s); give at least {least} for each class")
    if len(files) * 3 * size * size > MAX_BYTES:
        said = f"'{folder}' holds {len(files):,} images, too many for the memory at {size} x {size} pixels"
        raise UserError(f"{said}; use a smaller --size")
    images = np.empty((len(files), 3, size, size), np.uint8)
    for at, (path, _) in enumerate(files):
        images[at] = _image(path, size)
    return Part.of(images, labels)


def _image(path: Path, size: int) -> NDArray[np.uint8]:
    """One image, ``(3, size, size)``, red first."""
    import cv2

    try:
        found = cv2.imdecode(np.frombuffer(content(path, MAX_IMAGE), np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:  # an empty file, or more pixels than OpenCV takes
        found = None
    if found is None:
        raise UserError(f"'{path}' is no image that can be read; mend it or remove it")
    scaled = cv2.resize(found, (size, size), interpolation=cv2.INTER_AREA)
    return np.asarray(scaled[:, :, ::-1].transpose(2, 0, 1), np.uint8)
