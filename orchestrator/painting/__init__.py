"""Painted blood smears: white cells by their morphology, what lies around them, and devices that look on.

Everything is drawn from numbers, in micrometres and optical densities: no image of a patient is used, and
none can be told from the result. What is painted is the textbook's picture of each class, enough to learn
shapes from, to try every command without data, and to test with known masks; it is no measure of accuracy.

:mod:`~orchestrator.painting.smear` is the way in: ``paint_cell``; :mod:`~orchestrator.painting.samples` has a
look ready for it.

References
----------
Bain 2015, "Blood Cells: A Practical Guide", 5th ed., chapter 3: sizes, nuclei, granules.
Beer-Lambert mixing of stains: Ruifrok and Johnston 2001, Anal Quant Cytol Histol 23:291-299.
"""
