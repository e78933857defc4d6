"""Benchmarks through the public interfaces of a hub of their own; nothing here is a test."""
