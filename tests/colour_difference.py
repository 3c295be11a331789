"""How different two colours look."""

import math

import cv2
import numpy as np

Colour = tuple[int, int, int]


def ciede2000(one: Colour, other: Colour) -> float:
    """CIEDE2000 of two sRGB colours (Sharma, Wu and Dalal 2005); 1 is about what an eye just tells apart."""
    lab_1, lab_2 = cv2.cvtColor(np.array([[one, other]], np.float32) / 255, cv2.COLOR_RGB2LAB)[0].astype(
        float
    )
    mean_c = (math.hypot(*lab_1[1:]) + math.hypot(*lab_2[1:])) / 2
    stretch = 1 + 0.5 * (1 - math.sqrt(mean_c**7 / (mean_c**7 + 25**7)))
    (l1, c1, h1), (l2, c2, h2) = (
        (lightness, math.hypot(stretch * a, b), math.degrees(math.atan2(b, stretch * a)) % 360)
        for lightness, a, b in (lab_1, lab_2)
    )
    turn = (h2 - h1 + 180) % 360 - 180 if c1 * c2 else 0.0
    hue_step = 2 * math.sqrt(c1 * c2) * math.sin(math.radians(turn) / 2)
    mean_l, mean_c, mean_h = (l1 + l2) / 2, (c1 + c2) / 2, h1 + turn / 2 if c1 * c2 else h1 + h2
    weight = (
        1
        - 0.17 * math.cos(math.radians(mean_h - 30))
        + 0.24 * math.cos(math.radians(2 * mean_h))
        + 0.32 * math.cos(math.radians(3 * mean_h + 6))
        - 0.20 * math.cos(math.radians(4 * mean_h - 63))
    )
    by_l = 1 + 0.015 * (mean_l - 50) ** 2 / math.sqrt(20 + (mean_l - 50) ** 2)
    by_c, by_h = 1 + 0.045 * mean_c, 1 + 0.015 * mean_c * weight
    rotation = (
        -2
        * math.sqrt(mean_c**7 / (mean_c**7 + 25**7))
        * math.sin(math.radians(60 * math.exp(-((((mean_h % 360) - 275) / 25) ** 2))))
    )
    lightness, chroma, hue = (l2 - l1) / by_l, (c2 - c1) / by_c, hue_step / by_h
    return math.sqrt(lightness**2 + chroma**2 + hue**2 + rotation * chroma * hue)
