"""The SOAP face: XDS.b registry and repository for the installed base.

Owns: SOAP 1.2 envelopes with WS-Addressing, MTOM/XOP both ways, faults, the WSDLs, and the words of each transaction.
Refuses to know: how documents and patients are kept, who may see what (asked of `hie.exchange`), and what proves a
caller (asked of `hie.trust`). A transaction sees a `message.Request`; of the wire nothing is left on it.
"""
