"""Pure knowledge of the standards: no Django, no database."""
