"""The simulated vendors, one package each.

registry    - the table of simulated vendors, and the demonstration
tencent     - Tencent Cloud TRTC
volcengine  - Volcengine RTC
"""
