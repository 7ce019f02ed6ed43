"""Volcengine RTC, simulated.

vendor             - `Volcengine`: the implementation of `Vendor`
call_verification  - verifies the signatures of calls
queries            - answers the query calls
replies            - the shapes of replies and errors
callbacks          - the events of each moment, in the documented shapes
callback_signing   - signs callbacks
endings            - the ends that callbacks and queries tell
lifetimes          - how long tasks live, and what can end them
files              - the files of recordings
demo               - the app and the steps of the demonstration
"""
