"""The FHIR R4 face: bytes of HTTP to values of the core and back.

It owns the REST rules (formats, statuses, searches, Bundles, OperationOutcome) and the codecs of each resource.
It decides nothing: who may see what is asked of `hie.exchange`, and no row is read here.

How to add a resource:

1. Write ``hie/faces/fhir/<name>.py`` with a constant ``RESOURCE = Resource(type="Patient", read=Interaction(...), ...)``
   (see `resources.py`). An interaction of None is answered 405; what is named is declared in the CapabilityStatement
   and reachable: there is no other list.
2. A handler is ``def read(request: FhirRequest) -> Answer`` (see `http.py`). It finds the caller in `request.caller`,
   the parsed search (`search.Query`; also the criteria of a conditional update or delete) in `request.query`, the
   checked body in `request.body` and its bytes in `request.raw`, the id in `request.id`. It calls one use case of
   `hie.exchange` and returns ``Answer(resource=...)``, for a create or update `http.stored(...)`.
3. Search parameters are rows `Param(name, type, definition)`; `search.parse` has already refused bad values. Match in
   memory with `search.token_matches`, `string_matches`, `date_matches`. Answer with `bundle.searchset(...)`;
   `bundle.page_of` and `bundle.page_token` make the pages.
4. An operation is an `OperationDefinition` in the resource's `operations`; ``lenient=True`` on its interaction leaves
   the body's type and structure to the handler (it may be Parameters or the bare resource).
5. Raise `HubError`s: give each class a row in `outcome.OUTCOME` (a test holds the table complete). Several problems of
   one body: `errors.ProfileViolation([Problem(expression=..., message=..., code=...)])`.
6. Add the module's name to `resources.MODULES`.
"""
