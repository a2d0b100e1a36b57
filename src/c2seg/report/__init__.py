"""A run that explains itself: one self-contained HTML page of one or several runs, and figures for publications."""

from __future__ import annotations

from c2seg.report.build import ReportOptions, ReportResult, check_packages, make_report

__all__ = ["ReportOptions", "ReportResult", "check_packages", "make_report"]
