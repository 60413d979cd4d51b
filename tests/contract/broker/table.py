"""The table of `README.md`, made of what was recorded: `python -m contract.broker.table` (in `tests/`) writes it anew."""

from __future__ import annotations

from pathlib import Path

from contract.broker import reliance
from contract.broker.cases import CASES
from contract.broker.observed import BROKERS, DIFFERS, observations
from contract.broker.questions import QUESTIONS

README = Path(__file__).with_name("README.md")
BEGIN, END = "<!-- made by table.py: -->\n", "<!-- end -->\n"


def table() -> str:
    """Both tables, in Markdown: rules, and what is left open."""
    seen = observations()
    rules = [(case.rule, case.slug, reliance.why_not(case.slug)) for case in CASES]
    lines = ["### Rules", "", _row("rule", *BROKERS.values(), "does our door rely on it?"), _line(5)]
    for rule, slug, why_not in rules:
        relies = f"no: {why_not}" if why_not else "yes"
        if not why_not and seen["in-memory"][slug] == DIFFERS:
            relies = f"yes ({reliance.TOO_LITTLE[slug]})"
        lines.append(_row(rule, *(_cell(seen[broker][slug]) for broker in BROKERS), relies))
    for (broker, slug), reason in reliance.NOT_ASKED.items():
        rule = next(rule for rule, found, _ in rules if found == slug)
        lines += ["", f"Not asked of {BROKERS[broker]}, “{rule}”: {reason}."]
    lines += ["", "### Where brokers go their own ways", ""]
    lines += [_row("question", *BROKERS.values(), "why any answer suits our door"), _line(5)]
    for question in QUESTIONS:
        lines.append(_row(question.asks, *(seen[broker][question.case.slug] for broker in BROKERS), question.door))
    return "\n".join(lines) + "\n"


def readme(text: str) -> str:
    """A README with the table that belongs in it."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


def _cell(seen: str) -> str:
    return "**differs**" if seen == DIFFERS else seen


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _line(columns: int) -> str:
    return "|" + "---|" * columns


if __name__ == "__main__":
    README.write_text(readme(README.read_text()))
