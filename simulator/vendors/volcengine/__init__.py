"""Volcengine RTC, simulated."""
