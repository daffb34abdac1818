"""Compares an artifact's predictions with those of the model's own library, on drawn rows and on a payload's."""
