"""Tencent Cloud TRTC, simulated."""
