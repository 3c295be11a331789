"""Work on specimens: orders are analysed in the background, counted, decided about and signed.

Beneath it lie the analysis of one image (:mod:`orchestrator.analyse`) and the store; what a specimen *is*
stands in :mod:`orchestrator.specimen`.
"""
