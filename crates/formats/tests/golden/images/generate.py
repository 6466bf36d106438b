"""Makes the images of this folder and what Pillow (13.0.0, numpy 2.4.6) makes of them: python generate.py"""

from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path(__file__).parent
random = np.random.default_rng(0)

rows, columns = np.mgrid[0:53, 0:70]
smooth = np.stack([rows * 4, columns * 3, 255 - rows * 2 - columns], axis=-1)
noise = random.integers(0, 256, (53, 70, 3))
photo = Image.fromarray(np.clip(smooth + noise // 8, 0, 255).astype(np.uint8))
photo.save(FOLDER / "photo.jpg", quality=90, subsampling="4:2:0")
alpha = np.concatenate([noise, noise[:, :, :1]], axis=-1).astype(np.uint8)
Image.fromarray(alpha[:31, :45]).save(FOLDER / "noise.png", optimize=True)
Image.fromarray(noise[:20, :20].astype(np.uint8)).quantize(16).save(FOLDER / "palette.png", optimize=True)


def expect(name, file, mode, shorter=None, exact=None, crop=None):
    image = Image.open(FOLDER / file)
    image = image.convert("RGB").convert(mode)
    if shorter is not None:
        width, height = image.size
        short, long = min(width, height), max(width, height)
        sides = (shorter, shorter * long // short)
        exact = sides if height <= width else sides[::-1]
    if exact is not None:
        image = image.resize(exact[::-1], Image.Resampling.BILINEAR)
    if crop is not None:
        width, height = image.size
        top, left = round((height - crop) / 2), round((width - crop) / 2)
        image = image.crop((left, top, left + crop, top + crop))
    pixels = np.asarray(image)
    np.save(FOLDER / name, pixels.reshape(*pixels.shape[:2], -1))


expect("photo_rgb.npy", "photo.jpg", "RGB")
expect("noise_gray.npy", "noise.png", "L")
expect("noise_shorter_12_crop_11.npy", "noise.png", "RGB", shorter=12, crop=11)
expect("noise_exact_50_20.npy", "noise.png", "RGB", exact=(50, 20))
expect("palette_rgb.npy", "palette.png", "RGB")
