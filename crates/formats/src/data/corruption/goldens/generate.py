"""A small image, and what public packages make of it, for the tests of corruptions.

Run with Python 3.11 and numpy 2.4.6, scikit-image 0.26.0, opencv-python-headless 5.0.0.93, pillow 13.0.0:

    python generate.py > goldens.json

The constants are those of `make_cifar_c.py` (github.com/hendrycks/robustness, commit ca360085). Results are rounded to levels.
"""

import io
import json

import cv2
import numpy
import skimage.color
import skimage.filters
from PIL import Image

SEED = 3
HEIGHT, WIDTH = 14, 11
random = numpy.random.default_rng(SEED)
rows, columns = numpy.mgrid[:HEIGHT, :WIDTH]
image = numpy.stack([rows * 17, columns * 22, 255 - rows * columns * 2], axis=-1) + random.integers(-6, 7, (HEIGHT, WIDTH, 3))
image[3, 4] = 0
image = image.clip(0, 255).astype(numpy.uint8)


def gaussian_blur(x, deviation):
    return skimage.filters.gaussian(x / 255.0, sigma=deviation, channel_axis=-1) * 255


def defocus_blur(x, constants):
    side = numpy.arange(-8, 9)
    across, down = numpy.meshgrid(side, side)
    disk = (across**2 + down**2 <= constants[0] ** 2).astype(numpy.float32)
    kernel = cv2.GaussianBlur(disk / disk.sum(), ksize=(3, 3), sigmaX=constants[1])
    return numpy.stack([cv2.filter2D(x[:, :, c] / 255.0, -1, kernel) for c in range(3)], axis=-1) * 255


def contrast(x, share):
    means = x.mean(axis=(0, 1), keepdims=True)
    return (x - means) * share + means


def brightness(x, added):
    colours = skimage.color.rgb2hsv(x / 255.0)
    colours[:, :, 2] = numpy.clip(colours[:, :, 2] + added, 0, 1)
    return skimage.color.hsv2rgb(colours) * 255


def jpeg(x, quality):
    file = io.BytesIO()
    Image.fromarray(x).save(file, "JPEG", quality=quality)
    return numpy.array(Image.open(file))


def pixelate(x, share):
    small = Image.fromarray(x).resize((int(WIDTH * share), int(HEIGHT * share)), Image.BOX)
    return numpy.array(small.resize((WIDTH, HEIGHT), Image.BOX))


CASES = {
    "gaussian-blur": (gaussian_blur, [0.4, 0.6, 0.7, 0.8, 1]),
    "defocus-blur": (defocus_blur, [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1, 0.2), (1.5, 0.1)]),
    "contrast": (contrast, [0.75, 0.5, 0.4, 0.3, 0.15]),
    "brightness": (brightness, [0.05, 0.1, 0.15, 0.2, 0.3]),
    "jpeg": (jpeg, [80, 65, 58, 50, 40]),
    "pixelate": (pixelate, [0.95, 0.9, 0.85, 0.75, 0.65]),
}
corrupted = {}
for name, (change, constants) in CASES.items():
    results = [numpy.clip(numpy.round(change(image, c)), 0, 255).astype(int).ravel().tolist() for c in constants]
    corrupted[name] = results
print(json.dumps({"height": HEIGHT, "width": WIDTH, "image": image.ravel().tolist(), "corrupted": corrupted}))
