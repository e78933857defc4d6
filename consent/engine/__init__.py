"""Permit or deny, and why: the pure engine.

Owns: reading of directives, matching, the rules in order, time in zones.
Refuses to know: Django, databases, clocks, settings, wire formats other than FHIR Consent.
Everything that leaves the hub passes `decide`; only `hie/exchange/access.py` and this app call it.
"""

from consent.engine.boundaries import next_boundary
from consent.engine.codes import LETTERS, RANK, Tables
from consent.engine.decide import (
    PatientPolicy,
    Prepared,
    RuleTrace,
    Trace,
    compile_patient,
    decide,
    explain,
    gate,
)
from consent.engine.derived import completed
from consent.engine.directive import Directive, Problem, compile_directive
from consent.engine.policy import (
    Jurisdiction,
    Participant,
    Policy,
    compile_jurisdiction,
    compile_participant,
    compile_policy,
)

__all__ = [
    "LETTERS",
    "RANK",
    "Directive",
    "Jurisdiction",
    "Participant",
    "PatientPolicy",
    "Policy",
    "Prepared",
    "Problem",
    "RuleTrace",
    "Tables",
    "Trace",
    "compile_directive",
    "compile_jurisdiction",
    "compile_participant",
    "compile_patient",
    "compile_policy",
    "completed",
    "decide",
    "explain",
    "gate",
    "next_boundary",
]
