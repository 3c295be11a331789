"""Audits of microscopes: planned, labelled blind, judged once; what they allow is asked for each answer."""
