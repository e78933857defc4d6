"""The master patient index."""
