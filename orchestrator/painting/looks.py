"""How a device and a slide look: stain, light, optics and camera, each drawn anew for a slide.

A look is all that differs between two pictures of the same cell. ``scanner`` and ``phone`` are two unlike
devices to train on, ``camera`` is a third to test on, ``any`` draws every property from wide ranges, so that
a network that has seen enough of them can rely on none.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Density = NDArray[np.float32]
"""Optical density, ``-ln`` of the transmitted share, of red, green and blue: float32 ``[3]``."""

_AZURE: Final = (1.25, 1.65, 0.55)
_MAGENTA: Final = (0.4, 1.55, 0.5)
"""A well stained nucleus, and one of a stain that has lost its azure."""

_BLUE: Final = (0.62, 0.5, 0.12)
_PINK: Final = (0.12, 0.32, 0.16)
_ORANGE: Final = (0.22, 0.78, 0.8)
_BROWN: Final = (0.42, 0.75, 0.62)
_RED_CELL: Final = (0.26, 0.42, 0.36)


@dataclass(frozen=True, slots=True)
class Look:
    """What one slide looks like through one device.

    Pigments are optical densities of red, green and blue where the thing is fully stained. ``frame_um`` is
    the side of the square frame, ``frame_px`` its pixels. ``field_rgb`` is the colour of the empty field,
    0 to 255. ``chromatin`` is how much the texture of nuclei shows, ``gamma`` the camera's curve,
    ``defocus_um`` the blur of the optics, ``sharpening`` the camera's, ``noise`` a standard deviation in
    levels; ``jpeg_quality`` None keeps the pixels as they are. ``shading`` is the change of light across
    the frame, as a share.
    """

    name: str
    frame_um: float
    frame_px: int
    nucleus: Density
    basophilia: Density
    neutral: Density
    eosinophil: Density
    red_cell: Density
    field_rgb: NDArray[np.float32]
    chromatin: float
    gamma: float
    saturation: float
    defocus_um: float
    sharpening: float
    noise: float
    jpeg_quality: int | None
    shading: float


def scanner(random: Generator) -> Look:
    """A slide scanner: well stained, even light, sharpened, white cell a third of the frame."""
    return _look(
        "scanner",
        random,
        frame_um=38,
        frame_px=360,
        fading=random.uniform(0, 0.15),
        strength=random.uniform(0.95, 1.15),
        spread=0.06,
        field_rgb=np.array([252, 232, 208]) if random.random() < 0.8 else np.array([222, 222, 240]),
        chromatin=random.uniform(0.9, 1.3),
        gamma=random.uniform(0.95, 1.05),
        saturation=random.uniform(0.95, 1.1),
        defocus_um=random.uniform(0.05, 0.12),
        sharpening=random.uniform(0.6, 1.4),
        noise=random.uniform(0.5, 1.5),
        jpeg_quality=int(random.integers(88, 96)),
        shading=0.01,
    )


def phone(random: Generator) -> Look:
    """A telephone on an eyepiece: magenta nuclei, uneven light, some slides out of focus."""
    return _look(
        "phone",
        random,
        frame_um=29,
        frame_px=480,
        fading=random.uniform(0.35, 0.95),
        strength=random.uniform(0.75, 1.1),
        spread=0.12,
        field_rgb=np.array([218, 198, 190]) + random.normal(0, 9, 3),
        chromatin=random.uniform(0.3, 0.8),
        gamma=random.uniform(0.9, 1.15),
        saturation=random.uniform(0.95, 1.25),
        defocus_um=random.uniform(0.12, 0.4) if random.random() < 0.8 else random.uniform(0.4, 0.7),
        sharpening=random.uniform(0, 0.5),
        noise=random.uniform(1, 3),
        jpeg_quality=int(random.integers(75, 92)),
        shading=random.uniform(0.03, 0.12),
    )


def camera(random: Generator) -> Look:
    """A plain microscope camera: rapid stain, few pixels, the cell two thirds of the frame."""
    return _look(
        "camera",
        random,
        frame_um=20,
        frame_px=120,
        fading=random.uniform(0.1, 0.5),
        strength=random.uniform(0.8, 1.2),
        spread=0.12,
        field_rgb=np.array([228, 226, 214]) + random.normal(0, 8, 3),
        chromatin=random.uniform(0.4, 0.9),
        gamma=random.uniform(0.9, 1.1),
        saturation=random.uniform(0.8, 1.1),
        defocus_um=random.uniform(0.1, 0.3),
        sharpening=random.uniform(0, 1.0),
        noise=random.uniform(1.5, 4),
        jpeg_quality=None,
        shading=random.uniform(0.0, 0.08),
    )


def any_look(random: Generator) -> Look:
    """Any device there could be (domain randomisation: Tobin et al. 2017, arXiv:1703.06907)."""
    return _look(
        "any",
        random,
        frame_um=random.uniform(20, 40),
        frame_px=int(random.integers(120, 400)),
        fading=random.uniform(0, 1),
        strength=np.exp(random.normal(0, 0.25)),
        spread=0.22,
        field_rgb=random.uniform(190, 252) + random.normal(0, 12, 3),
        chromatin=random.uniform(0.2, 2.2),
        gamma=np.exp(random.normal(0, 0.18)),
        saturation=random.uniform(0.6, 1.35),
        defocus_um=0.05 + random.exponential(0.2),
        sharpening=random.uniform(0, 2.5) if random.random() < 0.5 else 0.0,
        noise=random.exponential(2),
        jpeg_quality=int(random.integers(45, 96)) if random.random() < 0.5 else None,
        shading=random.uniform(0, 0.15),
    )


LOOKS: Final[Mapping[str, Callable[[Generator], Look]]] = MappingProxyType(
    {"scanner": scanner, "phone": phone, "camera": camera, "any": any_look}
)


def _look(
    name: str,
    random: Generator,
    *,
    fading: float,
    strength: float,
    spread: float,
    field_rgb: NDArray[np.floating],
    **optics: float | int | None,
) -> Look:
    """``fading``, in [0, 1]: how much azure the stain has lost; ``spread``: how far pigments stray."""

    def stained(*colours: tuple[float, float, float], share: float = 0.0) -> Density:
        first, last = np.array(colours[0]), np.array(colours[-1])
        straying = np.exp(random.normal(0, spread, 3))
        return np.asarray((first + share * (last - first)) * strength * straying, np.float32)

    return Look(
        name=name,
        nucleus=stained(_AZURE, _MAGENTA, share=fading),
        basophilia=stained(_BLUE),
        neutral=stained(_PINK),
        eosinophil=stained(_ORANGE, _BROWN, share=random.uniform(0, 0.4 + 0.6 * fading)),
        red_cell=stained(_RED_CELL),
        field_rgb=np.clip(field_rgb, 150, 254).astype(np.float32),
        **optics,  # type: ignore[arg-type]
    )
