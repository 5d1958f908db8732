"""Bakes `assets/avatar.glb` at build time. Nothing here runs in the demo; `bake.py` tells the story."""
