"""The table of faults at the end of a test run: what each was, what happened, and how long that took."""

import pytest


def pytest_terminal_summary(terminalreporter) -> None:
    rows = []
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            properties = dict(report.user_properties)
            if report.when == "call" and "fault" in properties:
                happened = properties.get("happened", "the test failed")
                rows.append((properties["fault"], happened, f"{report.duration:.0f} s"))
    if rows:
        widths = [max(map(len, column)) for column in zip(*rows)]
        terminalreporter.section("faults")
        for fault, happened, took in sorted(rows):
            terminalreporter.write_line(f"{fault:{widths[0]}}  {took:>{widths[2]}}  {happened}")


@pytest.fixture
def happened(request, record_property):
    """Tells the table what happened; the test's docstring names the fault."""
    record_property("fault", request.function.__doc__)
    return lambda what: record_property("happened", what)
