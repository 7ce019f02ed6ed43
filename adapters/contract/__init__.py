"""The JSON of the contract: tasks and events as the API returns them and as subscribers receive them, without secrets.

* `task_json` - a task as JSON.
* `cloud_events` - an event as a CloudEvent.
* `masking` - hides secrets from every reader, and stream keys from readers without the right to see them.
"""
