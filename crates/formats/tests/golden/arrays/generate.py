"""Makes the arrays of this folder with numpy (2.4.6): python generate.py"""

from pathlib import Path

import numpy as np

FOLDER = Path(__file__).parent
values = np.arange(12).reshape(4, 3)

np.save(FOLDER / "big_endian.npy", values.astype(">i4"))
np.save(FOLDER / "fortran.npy", np.asfortranarray(values.astype("<f4")))
np.savez(FOLDER / "stored.npz", x=values.astype("<f4"), labels=values[:, 0])
np.savez_compressed(FOLDER / "deflated.npz", x=values.astype("<f4"), labels=values[:, 0])
