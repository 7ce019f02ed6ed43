"""Volcengine RTC, and BytePlus RTC, its sister: the same callbacks, signatures and calls."""

from adapters.vendors.volcengine.dialect import Volcengine

__all__ = ["Volcengine"]
