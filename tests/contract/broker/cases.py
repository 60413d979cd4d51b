"""All rules."""

from __future__ import annotations

from contract.broker import delivery_rules, ingress_rules, outcome_rules

CASES = [*ingress_rules.CASES, *delivery_rules.CASES, *outcome_rules.CASES]
