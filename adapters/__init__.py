"""The world: one outside thing per module. Settings, logs, ledger, queue, vendors."""
