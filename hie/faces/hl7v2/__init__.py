"""The HL7 v2 face."""
