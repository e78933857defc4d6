"""The HL7 v2 face: ER7 over MLLP in, acknowledgements out.

Owns bytes, segments and acknowledgements (`er7`, `adt`, `acks`), the listener (`mllp`) and the one handler
that turns a message into a use case of `hie.exchange`. Every message is kept by `hie.exchange.inbox` before
it is understood. Refuses to know rows of patients, and who may see what.
"""
