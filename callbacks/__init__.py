"""Callbacks hear. The door takes what vendors send and makes it durable; the desk answers those who ask.

Rule: nothing here moves a task. Both only ever append to the ledger and read from it.
"""
