"""Renderers for a terminal."""
