"""Cheap models that tell what an addition is worth."""
