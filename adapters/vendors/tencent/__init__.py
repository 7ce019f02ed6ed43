"""Tencent Cloud TRTC."""

from adapters.vendors.tencent.dialect import Tencent

__all__ = ["Tencent"]
