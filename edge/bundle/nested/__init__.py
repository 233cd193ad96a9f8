"""Nested weights outside of a runtime's own file: a store, a recipe for every slice, and templates to fill."""
