"""All rules."""

from __future__ import annotations

from contract.broker import delivery_rules, ingress_rules, outcome_rules
from contract.broker.under_test import Case

CASES: list[Case] = [*ingress_rules.CASES, *delivery_rules.CASES, *outcome_rules.CASES]
assert len({case.slug for case in CASES}) == len(CASES), "two rules have the same name"
